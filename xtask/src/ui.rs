//! What the user sees: one line a step, with a spinner where somebody watches it turn.
//!
//! All of it goes to standard error; standard output belongs to the program that is run.

use std::{
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};

const DIM: Style = Style::new().dimmed();
/// The style of what went well.
pub const GOOD: Style = AnsiColor::Green.on_default().bold();
/// The style of what failed.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// The style of what was left out.
pub const LEFT_OUT: Style = AnsiColor::Yellow.on_default();

/// Says one thing.
pub fn note(text: &str) {
    anstream::eprintln!("{GOOD}xtask:{GOOD:#} {text}");
}

/// Says why the run ends.
pub fn error(error: &anyhow::Error) {
    anstream::eprintln!("{BAD}xtask:{BAD:#} {error:#}");
}

/// Announces a stage of a longer run.
pub fn heading(text: &str) {
    let bold = Style::new().bold();
    anstream::eprintln!("\n{bold}== {text}{bold:#}");
}

/// A step that takes a while and whose own output matters only when it fails.
pub struct Step {
    label: String,
    started: Instant,
    spinner: Option<ProgressBar>,
}

impl Step {
    /// Shows that the step begins.
    pub fn begin(label: &str) -> Self {
        let spinner = stderr().is_terminal().then(|| {
            let spinner = ProgressBar::new_spinner().with_message(label.to_owned());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} [{elapsed}] {prefix}")
            {
                spinner.set_style(style);
            }
            spinner.enable_steady_tick(Duration::from_millis(100));
            spinner
        });
        if spinner.is_none() {
            note(&format!("{label} ..."));
        }
        Self { label: label.to_owned(), started: Instant::now(), spinner }
    }

    /// Shows the latest line of output beside the spinner.
    pub fn progress(&self, line: &str) {
        if let Some(spinner) = &self.spinner {
            let short: String = line.trim().chars().take(50).collect();
            spinner.set_prefix(format!("{DIM}{short}{DIM:#}"));
        }
    }

    /// Shows how the step ended.
    pub fn end(self, outcome: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
        note(&format!("{}: {outcome} after {}", self.label, seconds(self.started.elapsed())));
    }
}

/// A length of time as people read it.
pub fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..100 => format!("{:.1} s", time.as_secs_f64()),
        whole => format!("{} min {} s", whole / 60, whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        assert_eq!(seconds(Duration::from_millis(1_234)), "1.2 s");
        assert_eq!(seconds(Duration::from_secs(125)), "2 min 5 s");
    }
}
