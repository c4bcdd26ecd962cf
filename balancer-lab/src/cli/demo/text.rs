//! The demo's outcome on a terminal of 100 columns.

use std::fmt::Write;

use anstyle::{AnsiColor, Color, Style};

use super::{
    chart::{self, thousands},
    outcome::{Outcome, Pair},
};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const RED: Style = color(AnsiColor::Red);
const YELLOW: Style = color(AnsiColor::Yellow);
const GREEN: Style = color(AnsiColor::Green);
/// Cells of a bar.
const BAR: usize = 12;
/// Cells of one side.
const SIDE: usize = 42;

const fn color(color: AnsiColor) -> Style {
    Style::new().fg_color(Some(Color::Ansi(color)))
}

/// What the command line tool said while the connections of a scenario were open.
pub(super) struct View {
    pub(super) scenario: String,
    pub(super) command: String,
    pub(super) output: String,
}

/// One scenario, both sides.
pub(super) fn scenario(pair: &Pair) -> String {
    let mut page = String::new();
    let _ = writeln!(page, "{BOLD}{}{BOLD:#}  {}\n", pair.name, pair.description);
    let heads = ["kube-proxy (iptables)", "balancer (least connections)"];
    let _ = writeln!(page, "  {:11}{:SIDE$}  {}", "", heads[0], heads[1]);
    let columns = format!("{:17}{:25}", "connections", "requests");
    let _ = writeln!(page, "  {DIM}{:11}{columns}  {}{DIM:#}", "", columns.trim_end());
    // Both sides on one scale, so that the eye compares.
    let scale = Scale {
        connections: most(pair, |side| &side.connections),
        requests: most(pair, |side| &side.requests),
    };
    for backend in pair.least.connections.keys() {
        let left = side(&pair.iptables, backend, &scale, YELLOW);
        let right = side(&pair.least, backend, &scale, GREEN);
        let _ = writeln!(page, "  {backend:11}{left}  {}", right.trim_end());
    }
    let line = |page: &mut String, name: &str, left: String, right: String| {
        let _ = writeln!(page, "  {DIM}{name:11}{DIM:#}{left:SIDE$}  {right}");
    };
    let idle = |side: &Outcome| format!("{} of {}", side.idle_backends, side.connections.len());
    line(&mut page, "idle", idle(&pair.iptables), idle(&pair.least));
    let uneven = |side: &Outcome| format!("{:.2}", side.max_over_mean);
    line(&mut page, "max/mean", uneven(&pair.iptables), uneven(&pair.least));
    let rate = |side: &Outcome| thousands(side.requests_per_second as u64);
    line(&mut page, "requests/s", rate(&pair.iptables), rate(&pair.least));
    page.push('\n');
    page
}

struct Scale {
    connections: u64,
    requests: u64,
}

fn most(pair: &Pair, counts: fn(&Outcome) -> &std::collections::BTreeMap<String, u64>) -> u64 {
    let both = counts(&pair.iptables).values().chain(counts(&pair.least).values());
    both.copied().max().unwrap_or(0)
}

/// A backend's bars on one side, [`SIDE`] cells wide.
fn side(outcome: &Outcome, backend: &str, scale: &Scale, style: Style) -> String {
    let connections = outcome.connections.get(backend).copied().unwrap_or(0);
    let requests = outcome.requests.get(backend).copied().unwrap_or(0);
    if connections == 0 {
        return format!("{RED}idle{RED:#}{:1$}", "", SIDE - "idle".len());
    }
    let first = chart::bar(connections, scale.connections, BAR);
    let second = chart::bar(requests, scale.requests, BAR);
    let (connections, requests) = (thousands(connections), thousands(requests));
    format!("{style}{first}{style:#}{connections:>4} {style}{second}{style:#} {requests:<12}")
}

/// The scenarios in one table, and the agent's own view.
pub(super) fn summary(pairs: &[Pair], view: Option<&View>) -> String {
    let mut page = String::new();
    let _ = writeln!(
        page,
        "{BOLD}{:13}{:^24}{:^24}{:^30}{BOLD:#}",
        "", "idle backends", "max/mean", "requests/s"
    );
    let heads = format!("{:>12}{:>12}", "kube-proxy", "balancer");
    let _ = writeln!(page, "{DIM}{:13}{heads}{heads}{heads}{DIM:#}", "");
    for Pair { name, iptables, least, .. } in pairs {
        let gain = least.requests_per_second / iptables.requests_per_second;
        let _ = writeln!(
            page,
            "{name:13}{:>12}{:>12}{:>12.2}{:>12.2}{:>12}{:>12}{:>7.2}x",
            iptables.idle_backends,
            least.idle_backends,
            iptables.max_over_mean,
            least.max_over_mean,
            thousands(iptables.requests_per_second as u64),
            thousands(least.requests_per_second as u64),
            gain,
        );
    }
    let _ = writeln!(
        page,
        "\n{DIM}kube-proxy's side is chance and differs from run to run; balancer's does not. 1.00 is even; \
         where\nthere are fewer connections than backends, some are idle whatever chooses.{DIM:#}\n"
    );
    if let Some(View { scenario, command, output }) = view {
        let _ = write!(
            page,
            "{BOLD}What balancer-agent saw while the connections of {scenario} were open{BOLD:#}\n\
             {DIM}$ balancer-agent {command}{DIM:#}\n{}\n\n",
            output.trim_end()
        );
    }
    page
}
