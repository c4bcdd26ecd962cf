//! The demo's outcome on a terminal of 100 columns.

use std::fmt::Write;

use anstyle::{AnsiColor, Color, Style};

use super::{
    chart::{self, thousands},
    outcome::{Balancer, Comparison, Outcome},
};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const RED: Style = color(AnsiColor::Red);
const YELLOW: Style = color(AnsiColor::Yellow);
const GREEN: Style = color(AnsiColor::Green);
const PLAIN: Style = Style::new();

const fn color(color: AnsiColor) -> Style {
    Style::new().fg_color(Some(Color::Ansi(color)))
}

/// What the command line tool said while the connections of a scenario were open.
pub(super) struct View {
    pub(super) scenario: String,
    pub(super) command: String,
    pub(super) output: String,
}

/// One scenario, all sides.
pub(super) fn scenario(one: &Comparison) -> String {
    let mut page = String::new();
    let _ = writeln!(page, "{BOLD}{}{BOLD:#}  {}\n", one.name, one.description);
    let form = Form::of(one.sides.len());
    let line = |page: &mut String, style: Style, name: &str, cell: &dyn Fn(&Outcome) -> String| {
        let cells = one.sides.iter().map(|side| padded(&cell(side), form.width));
        let cells = cells.collect::<Vec<_>>().join("  ");
        let _ = writeln!(page, "  {style}{name:11}{style:#}{}", cells.trim_end());
    };
    line(&mut page, DIM, "", &|side| side.balancer.title(one.several_nodes).to_owned());
    let heads = format!("{:1$}requests", "connections", form.bar + 5);
    line(&mut page, DIM, "", &|_| format!("{DIM}{heads}{DIM:#}"));
    // All sides on one scale, so that the eye compares.
    let scale = Scale {
        connections: one.most(|side| &side.connections),
        requests: one.most(|side| &side.requests),
    };
    for backend in one.backends() {
        line(&mut page, PLAIN, backend, &|side| form.cell(side, backend, &scale));
    }
    line(&mut page, DIM, "idle", &|side| {
        format!("{} of {}", side.idle_backends, side.connections.len())
    });
    line(&mut page, DIM, "max/mean", &|side| format!("{:.2}", side.max_over_mean));
    line(&mut page, DIM, "requests/s", &|side| thousands(side.requests_per_second as u64));
    page.push('\n');
    page
}

struct Scale {
    connections: u64,
    requests: u64,
}

/// How much room a side has.
struct Form {
    /// Cells of a side.
    width: usize,
    /// Cells of the bar of connections.
    bar: usize,
    /// Cells of the bar of requests; 0 for none.
    second_bar: usize,
}

impl Form {
    const fn of(sides: usize) -> Self {
        match sides {
            0..=2 => Self { width: 42, bar: 12, second_bar: 12 },
            _ => Self { width: 28, bar: 12, second_bar: 0 },
        }
    }

    /// A backend's bars on one side.
    fn cell(&self, side: &Outcome, backend: &str, scale: &Scale) -> String {
        let connections = side.connections.get(backend).copied().unwrap_or(0);
        let requests = side.requests.get(backend).copied().unwrap_or(0);
        if connections == 0 {
            return format!("{RED}idle{RED:#}");
        }
        let style = style(side.balancer);
        let first = chart::bar(connections, scale.connections, self.bar);
        let second = match self.second_bar {
            0 => String::new(),
            cells => chart::bar(requests, scale.requests, cells),
        };
        let (connections, requests) = (thousands(connections), thousands(requests));
        format!("{style}{first}{style:#}{connections:>4} {style}{second}{style:#} {requests}")
    }
}

const fn style(side: Balancer) -> Style {
    match side {
        Balancer::Iptables => YELLOW,
        Balancer::LeastConnections | Balancer::ClusterLeastConnections => GREEN,
    }
}

/// A text with colours, filled up to so many cells.
fn padded(text: &str, cells: usize) -> String {
    let shown = anstream::adapter::strip_str(text).to_string().chars().count();
    format!("{text}{:1$}", "", cells.saturating_sub(shown))
}

/// The scenarios in one table, or in two where some are of several nodes, and the agent's own view.
pub(super) fn summary(all: &[Comparison], view: Option<&View>) -> String {
    let mut page = String::new();
    for several_nodes in [true, false] {
        let rows: Vec<_> = all.iter().filter(|one| one.several_nodes == several_nodes).collect();
        if let Some(first) = rows.first() {
            page += &table(first, &rows);
        }
    }
    let _ = writeln!(
        page,
        "{DIM}kube-proxy's side is chance and differs from run to run; balancer's on one node does not. \
         1.00 is\neven; where there are fewer connections than backends, some are idle whatever \
         chooses.{DIM:#}\n"
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

/// Scenarios with the same sides.
fn table(first: &Comparison, rows: &[&Comparison]) -> String {
    let mut text = String::new();
    let width = 12 * first.sides.len();
    let titles =
        ["idle backends", "max/mean", "requests/s"].map(|title| format!("{title:^width$}"));
    let _ = writeln!(text, "{BOLD}{:13}{}{BOLD:#}", "", titles.concat().trim_end());
    let names = first.sides.iter().map(|side| side.balancer.short(first.several_nodes));
    let heads: String = names.map(|name| format!("{name:>12}")).collect();
    let _ = writeln!(text, "{DIM}{:13}{heads}{heads}{heads}{DIM:#}", "");
    for one in rows {
        let cells = |cell: &dyn Fn(&Outcome) -> String| -> String {
            one.sides.iter().map(|side| format!("{:>12}", cell(side))).collect()
        };
        let idle = cells(&|side| side.idle_backends.to_string());
        let uneven = cells(&|side| format!("{:.2}", side.max_over_mean));
        let rate = cells(&|side| thousands(side.requests_per_second as u64));
        let gain = match one.sides.as_slice() {
            [first, .., last] => last.requests_per_second / first.requests_per_second,
            _ => 1.0,
        };
        let _ = writeln!(text, "{:13}{idle}{uneven}{rate}{gain:>7.2}x", one.name);
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_take_no_room() {
        assert_eq!(padded(&format!("{RED}idle{RED:#}"), 6), format!("{RED}idle{RED:#}  "));
        assert_eq!(padded("longer", 3), "longer");
    }
}
