//! The lines of `trace`.

use std::{fmt::Write as _, net::SocketAddr};

use anstyle::{AnsiColor, Style};

use super::human::{bytes, tenths};
use crate::view::{
    ChoiceView, DialledView, DroppedView, EndView, EndedView, PartiesView, TraceView,
};

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const DIM: Style = Style::new().dimmed();

/// A line, with its end, or nothing where a note says it; `wide` adds the policy, numbers of all nodes and the client's address.
pub fn trace(view: &TraceView, wide: bool) -> String {
    let mut line = match view {
        TraceView::Dialled(view) => dialled(view, wide),
        TraceView::Ended(view) => ended(view, wide),
        // A note says it.
        TraceView::Begun => return String::new(),
        TraceView::Dropped(view) => dropped(view),
    };
    line.push('\n');
    line
}

fn dialled(view: &DialledView, wide: bool) -> String {
    let (word, style) = match (view.verdict.as_str(), &view.errno) {
        ("balanced", _) => ("chosen", GOOD),
        ("not-service", _) => ("passed", DIM),
        (_, Some(_)) => ("refused", BAD),
        (_, None) => ("passed", BAD),
    };
    let mut line = begin(&view.parties, word, style);
    match (&view.choice, &view.errno) {
        (Some(choice), _) => line.push_str(&chosen(choice, wide)),
        (None, Some(errno)) => {
            let _ = write!(line, "  {}: {errno}", view.verdict);
        }
        (None, None) => {
            let _ = write!(line, "  {}: left to the network", view.verdict);
        }
    }
    line
}

/// Why a backend was chosen.
fn chosen(view: &ChoiceView, wide: bool) -> String {
    let mut text = format!("  {}", view.why);
    let (Some(active), Some(backends)) = (view.active, view.backends) else { return text };
    let _ = write!(text, ": had {}", view.cluster_active.unwrap_or(active));
    if let (Some(least), Some(tied)) = (view.least, view.tied) {
        let _ = write!(text, ", least {least} of {tied}");
    }
    let _ = match view.usable.map(u32::from) {
        Some(usable) if usable == backends => write!(text, " among {usable}"),
        Some(usable) => write!(text, " among {usable} of {backends}"),
        None => write!(text, " among {backends}"),
    };
    if let Some(policy) = view.policy.as_ref().filter(|_| wide) {
        let _ = write!(text, ", {policy}");
        if view.cluster_active.is_some() {
            let _ = write!(text, ", {active} of this node");
        }
    }
    text
}

fn ended(view: &EndedView, wide: bool) -> String {
    let style = if view.is_failure() { BAD } else { DIM };
    let mut line = begin(&view.parties, "ended", style);
    let _ = write!(line, "  {}", view.reason);
    if view.permitted {
        line.push_str(", permitted");
    }
    if let Some(errno) = &view.errno {
        let _ = write!(line, ": {errno}");
    }
    if let Some(age_ms) = view.age_ms {
        let _ = write!(
            line,
            " after {}",
            if age_ms < 100 { format!("{age_ms}ms") } else { tenths(age_ms) }
        );
    }
    if let (Some(sent), Some(received)) = (view.bytes_sent, view.bytes_received) {
        let _ = write!(line, ", {} sent, {} received", bytes(sent), bytes(received));
    }
    if let Some(client) = view.client.filter(|_| wide) {
        let _ = write!(line, ", from {}", address(client));
    }
    line
}

/// What all lines begin with: time, what, who, and the way.
fn begin(view: &PartiesView, word: &str, style: Style) -> String {
    // The day is known to who looks.
    let time = view.time.split_once('T').map_or(view.time.as_str(), |(_, time)| time);
    let time = time.trim_end_matches('Z');
    let mut line = format!("{time}  {style}{word:<7}{style:#}  {}", client(view));
    let _ = write!(line, "  {}", address(view.dialled));
    if let Some(protocol) = view.protocol {
        let _ = write!(line, "/{protocol}");
    }
    if let (Some(namespace), Some(service)) = (&view.namespace, &view.service) {
        let _ = write!(line, " ({namespace}/{service})");
    }
    if let Some(backend) = view.backend {
        let _ = write!(line, " -> {}", address(backend));
    }
    line
}

/// The pod, or the node, with the process.
fn client(view: &PartiesView) -> String {
    let mut text = view.pod.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
    let _ = match (&view.command, view.pid) {
        (Some(command), Some(pid)) => {
            // What could move the cursor is shown as a blank.
            let clean = |c: char| if c.is_control() { ' ' } else { c };
            write!(text, " {}[{pid}]", command.chars().map(clean).collect::<String>())
        }
        (None, Some(pid)) => write!(text, " [{pid}]"),
        _ => Ok(()),
    };
    text
}

fn dropped(view: &DroppedView) -> String {
    let mut why = Vec::new();
    let mut say = |count: u64, text: &str| {
        if count > 0 {
            why.push(format!("{count} {text}"));
        }
    };
    say(view.capped, "above what programs tell in a second");
    say(view.full, "with no room in the ring buffer");
    say(view.behind, "as this reader was too slow");
    format!("{BAD}{} events not told{BAD:#}: {}", view.total(), why.join(", "))
}

fn address(end: EndView) -> SocketAddr {
    SocketAddr::from((end.address, end.port))
}
