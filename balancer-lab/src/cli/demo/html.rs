//! The demo's outcome as one HTML file with SVG charts and nothing loaded from elsewhere.

use std::{collections::BTreeMap, fmt::Write};

use super::{
    chart::thousands,
    outcome::{Comparison, Outcome},
    story::{self, Told},
    text::View,
};

/// The file around the content.
const FRAME: &str = include_str!("report.html");
/// What stands above the scenarios.
const COMPARISON: &str = include_str!("comparison.html");
/// Pixels of a bar that has the most.
const WIDTH: u64 = 220;
/// Pixels from one bar to the next below it.
const BAR: u64 = 11;

pub(super) fn page(all: &[Comparison], stories: &[Told], view: Option<&View>) -> String {
    let scenarios = all.iter().map(scenario).chain(stories.iter().map(story::section));
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
        .replace("{{comparison}}", &comparison(all))
        .replace("{{scenarios}}", &scenarios)
        .replace("{{view}}", &view)
}

/// What the scenarios are about, and what they came to; nothing where none was run.
fn comparison(all: &[Comparison]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let tables = [true, false].map(|several_nodes| {
        let rows: Vec<_> = all.iter().filter(|one| one.several_nodes == several_nodes).collect();
        rows.first().map_or_else(String::new, |first| summary(first, &rows))
    });
    COMPARISON.replace("{{summaries}}", &tables.concat())
}

/// Scenarios with the same sides, as a table.
fn summary(first: &Comparison, rows: &[&Comparison]) -> String {
    let sides = first.sides.len();
    let titles = ["idle backends", "max/mean", "requests/s"];
    let titles = titles.map(|title| format!("<th colspan=\"{sides}\">{title}</th>")).concat();
    let names = first.sides.iter().map(|side| side.balancer.short(first.several_nodes));
    let names = names.map(|name| format!("<th>{name}</th>")).collect::<String>().repeat(3);
    let mut table = format!(
        "<table>\n<thead>\n<tr><th></th>{titles}</tr>\n<tr><th></th>{names}</tr>\n</thead>\n"
    );
    for one in rows {
        let cells = |cell: &dyn Fn(&Outcome) -> String| -> String {
            one.sides.iter().map(|side| format!("<td>{}</td>", cell(side))).collect()
        };
        let name = &one.name;
        let _ = writeln!(
            table,
            "<tr><th><a href=\"#{name}\">{name}</a></th>{}{}{}</tr>",
            cells(&|side| side.idle_backends.to_string()),
            cells(&|side| format!("{:.2}", side.max_over_mean)),
            cells(&|side| thousands(side.requests_per_second as u64)),
        );
    }
    table + "</table>\n"
}

fn scenario(one: &Comparison) -> String {
    let Comparison { name, description, several_nodes, sides } = one;
    let rate = |side: &Outcome| {
        let Outcome { balancer, requests_per_second, .. } = side;
        format!(
            "<b class=\"{}\">{} {}</b>",
            balancer.class(*several_nodes),
            balancer.short(*several_nodes),
            thousands(*requests_per_second as u64)
        )
    };
    format!(
        "<section id=\"{name}\">\n<h2>{name} <small>{}</small></h2>\n{}{}\
         <p class=\"figures\">requests a second: {}</p>\n</section>\n",
        escaped(description),
        figure("connections", one, |side| &side.connections),
        figure("requests", one, |side| &side.requests),
        sides.iter().map(rate).collect::<Vec<_>>().join(" "),
    )
}

/// A bar for each side of each backend, on one scale.
fn figure(title: &str, one: &Comparison, counts: fn(&Outcome) -> &BTreeMap<String, u64>) -> String {
    let most = one.most(counts);
    let line = BAR * one.sides.len() as u64 + 4;
    let mut bars = String::new();
    let mut top = 0;
    for backend in one.backends() {
        let _ = writeln!(
            bars,
            "<text x=\"56\" y=\"{}\" class=\"name\">{}</text>",
            top + line / 2 + 4,
            escaped(backend)
        );
        for (number, side) in (0..).zip(&one.sides) {
            let count = counts(side).get(backend).copied().unwrap_or(0);
            let class = side.balancer.class(one.several_nodes);
            bar(&mut bars, class, top + 3 + number * BAR, count, most);
        }
        top += line + 6;
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
        let one = Comparison {
            name: "x".into(),
            description: "a < b".into(),
            several_nodes: false,
            sides: Balancer::ONE_NODE.map(outcome).into(),
        };
        let page = page(&[one], &[], None);
        assert_eq!(page.matches("<rect").count(), 8, "2 figures, 2 backends, 2 sides: {page}");
        assert!(page.contains("a &lt; b") && page.contains(">idle<"), "{page}");
        for foreign in ["{{", "http://", "https://", "<script src", "<link"] {
            assert!(!page.contains(foreign), "{foreign} in {page}");
        }
    }
}
