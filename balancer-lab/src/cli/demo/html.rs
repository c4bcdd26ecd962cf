//! The demo's outcome as one HTML file with SVG charts and nothing loaded from elsewhere.

use std::{collections::BTreeMap, fmt::Write};

use super::{
    chart::thousands,
    outcome::{Outcome, Pair},
    story::{self, Told},
    text::View,
};

/// The file around the content.
const FRAME: &str = include_str!("report.html");
/// What stands above the scenarios.
const COMPARISON: &str = include_str!("comparison.html");
/// Pixels of a bar that has the most.
const WIDTH: u64 = 220;
/// Pixels of a line.
const LINE: u64 = 26;

pub(super) fn page(pairs: &[Pair], stories: &[Told], view: Option<&View>) -> String {
    let scenarios = pairs.iter().map(scenario).chain(stories.iter().map(story::section));
    let scenarios: String = scenarios.collect();
    let view = view.map_or_else(String::new, |View { scenario, command, output }| {
        format!(
            "<h2>What balancer-agent saw while the connections of {scenario} were open</h2>\n\
             <pre>$ balancer-agent {}\n{}</pre>\n",
            escaped(command),
            escaped(output.trim_end())
        )
    });
    FRAME
        .replace("{{comparison}}", &comparison(pairs))
        .replace("{{scenarios}}", &scenarios)
        .replace("{{view}}", &view)
}

/// What the scenarios are about, and what they came to; nothing where none was run.
fn comparison(pairs: &[Pair]) -> String {
    if pairs.is_empty() {
        return String::new();
    }
    COMPARISON.replace("{{summary}}", &summary(pairs))
}

fn summary(pairs: &[Pair]) -> String {
    let mut rows = String::new();
    for Pair { name, iptables, least, .. } in pairs {
        let _ = writeln!(
            rows,
            "<tr><th><a href=\"#{name}\">{name}</a></th><td>{}</td><td>{}</td>\
             <td>{:.2}</td><td>{:.2}</td><td>{}</td><td>{}</td></tr>",
            iptables.idle_backends,
            least.idle_backends,
            iptables.max_over_mean,
            least.max_over_mean,
            thousands(iptables.requests_per_second as u64),
            thousands(least.requests_per_second as u64),
        );
    }
    rows
}

fn scenario(pair: &Pair) -> String {
    let Pair { name, description, iptables, least } = pair;
    format!(
        "<section id=\"{name}\">\n<h2>{name} <small>{}</small></h2>\n{}{}\
         <p class=\"figures\">requests a second: <b class=\"random\">{}</b> \
         <b class=\"least\">{}</b></p>\n</section>\n",
        escaped(description),
        figure("connections", pair, |side| &side.connections),
        figure("requests", pair, |side| &side.requests),
        thousands(iptables.requests_per_second as u64),
        thousands(least.requests_per_second as u64),
    )
}

/// Two bars for each backend, on one scale.
fn figure(title: &str, pair: &Pair, counts: fn(&Outcome) -> &BTreeMap<String, u64>) -> String {
    let (random, least) = (counts(&pair.iptables), counts(&pair.least));
    let most = random.values().chain(least.values()).copied().max().unwrap_or(0).max(1);
    let mut bars = String::new();
    let mut top = 0;
    for (backend, &count) in random {
        let _ = writeln!(
            bars,
            "<text x=\"56\" y=\"{}\" class=\"name\">{}</text>",
            top + LINE / 2 + 4,
            escaped(backend)
        );
        bar(&mut bars, "random", top + 3, count, most);
        bar(&mut bars, "least", top + 14, least.get(backend).copied().unwrap_or(0), most);
        top += LINE + 6;
    }
    format!(
        "<figure><figcaption>{title}</figcaption>\n\
         <svg viewBox=\"0 0 340 {top}\" role=\"img\" aria-label=\"{title} per backend\">\n{bars}\
         </svg></figure>\n"
    )
}

fn bar(bars: &mut String, class: &str, top: u64, count: u64, most: u64) {
    let width = count * WIDTH / most;
    let idle = if count == 0 { " idle" } else { "" };
    let _ = writeln!(
        bars,
        "<rect class=\"{class}\" x=\"62\" y=\"{top}\" width=\"{width}\" height=\"10\" rx=\"2\"/>\
         <text class=\"count{idle}\" x=\"{}\" y=\"{}\">{}</text>",
        62 + width + 4,
        top + 9,
        if count == 0 { "idle".to_owned() } else { thousands(count) }
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use balancer_lab::http::{Count, Report};

    use super::*;
    use crate::cli::demo::outcome::Balancer;

    #[test]
    fn the_page_is_whole_and_loads_nothing() {
        let report = Report {
            backends: [("web-0".to_owned(), Count { connections: 2, requests: 30 })].into(),
            seconds: 1.0,
            ..Report::default()
        };
        let outcome = |balancer| {
            Outcome::new("x".into(), balancer, &["web-0", "web-1"].map(str::to_owned), &report)
                .expect("no errors")
        };
        let pair = Pair {
            name: "x".into(),
            description: "a < b".into(),
            iptables: outcome(Balancer::Iptables),
            least: outcome(Balancer::LeastConnections),
        };
        let page = page(&[pair], &[], None);
        assert_eq!(page.matches("<rect").count(), 8, "2 figures, 2 backends, 2 sides: {page}");
        assert!(page.contains("a &lt; b") && page.contains(">idle<"), "{page}");
        for foreign in ["{{", "http://", "https://", "<script src", "<link"] {
            assert!(!page.contains(foreign), "{foreign} in {page}");
        }
    }
}
