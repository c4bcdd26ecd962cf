//! What the stages came to.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::ui::{self, BAD, GOOD, LEFT_OUT};

/// What the test programs of one stage said.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that were not run.
    pub ignored: u64,
    /// The names of the tests that failed.
    pub failed: Vec<String>,
    /// What else went wrong.
    pub broken: Option<String>,
}

impl Outcome {
    /// Takes in one line of a test program.
    pub fn read(&mut self, line: &str) {
        if let Some(name) =
            line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.failed.push(name.to_owned());
        }
        if let Some(result) = line.strip_prefix("test result: ") {
            self.passed += count(result, " passed");
            self.ignored += count(result, " ignored");
        }
    }

    fn is_well(&self) -> bool {
        self.failed.is_empty() && self.broken.is_none()
    }

    fn describe(&self) -> String {
        let mut parts = Vec::new();
        for (number, what) in [
            (self.passed, "passed"),
            (self.failed.len() as u64, "failed"),
            (self.ignored, "ignored"),
        ] {
            if number > 0 {
                parts.push(format!("{number} {what}"));
            }
        }
        parts.extend(self.broken.clone());
        parts.join(", ")
    }
}

/// The number before ` passed` in `ok. 12 passed; 0 failed; ...`.
fn count(result: &str, what: &str) -> u64 {
    let number = result.split(['.', ';']).find_map(|part| part.trim().strip_suffix(what.trim()));
    number.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

#[derive(Debug)]
enum Verdict {
    Ran(Outcome),
    LeftOut(String),
}

/// All stages so far.
#[derive(Debug, Default)]
pub struct Report {
    stages: Vec<(&'static str, Verdict, Duration)>,
}

impl Report {
    /// Runs a stage, and tells whether it went well.
    pub fn stage(&mut self, name: &'static str, run: impl FnOnce() -> Result<Outcome>) -> bool {
        ui::heading(name);
        let started = Instant::now();
        let outcome = run().unwrap_or_else(|error| {
            ui::error(&error);
            Outcome { broken: Some(format!("{error:#}")), ..Outcome::default() }
        });
        let well = outcome.is_well();
        self.stages.push((name, Verdict::Ran(outcome), started.elapsed()));
        well
    }

    /// Notes that a stage was not run, and why.
    pub fn left_out(&mut self, name: &'static str, why: &str) {
        self.stages.push((name, Verdict::LeftOut(why.to_owned()), Duration::ZERO));
    }

    /// Whether no stage failed.
    pub fn all_well(&self) -> bool {
        self.outcomes().all(Outcome::is_well)
    }

    fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.stages.iter().filter_map(|(_, verdict, _)| match verdict {
            Verdict::Ran(outcome) => Some(outcome),
            Verdict::LeftOut(_) => None,
        })
    }

    /// Prints the table, the tests that failed, and the sum.
    pub fn print(&self) {
        ui::heading("summary");
        for (name, verdict, took) in &self.stages {
            let (style, word, time, details) = match verdict {
                Verdict::Ran(outcome) if outcome.is_well() => {
                    (GOOD, "ok", ui::seconds(*took), outcome.describe())
                }
                Verdict::Ran(outcome) => (BAD, "FAILED", ui::seconds(*took), outcome.describe()),
                Verdict::LeftOut(why) => (LEFT_OUT, "left out", String::new(), why.clone()),
            };
            anstream::println!("{name:<14} {style}{word:<8}{style:#} {time:>12}  {details}");
        }
        for name in self.outcomes().flat_map(|outcome| &outcome.failed) {
            anstream::println!("{BAD}failed:{BAD:#} {name}");
        }
        let sum = |part: fn(&Outcome) -> u64| self.outcomes().map(part).sum::<u64>();
        let (style, word) = if self.all_well() { (GOOD, "ok") } else { (BAD, "FAILED") };
        anstream::println!(
            "test result: {style}{word}{style:#}. {} passed; {} failed; {} ignored",
            sum(|outcome| outcome.passed),
            sum(|outcome| outcome.failed.len() as u64),
            sum(|outcome| outcome.ignored),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_test_programs_add_up() {
        let mut outcome = Outcome::default();
        for line in [
            "running 3 tests",
            "test choice::smallest_wins ... ok",
            "test charge::moves ... FAILED",
            "test slow ... ignored",
            "test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test result: ok. 41 passed; 0 failed; 0 ignored; 0 measured; 7 filtered out; finished in 0.02s",
        ] {
            outcome.read(line);
        }
        assert_eq!((outcome.passed, outcome.ignored), (42, 1));
        assert_eq!(outcome.failed, ["charge::moves"]);
        assert_eq!(outcome.describe(), "42 passed, 1 failed, 1 ignored");
    }

    #[test]
    fn one_bad_stage_is_enough() {
        let mut report = Report::default();
        assert!(report.stage("good", || Ok(Outcome::default())));
        report.left_out("other", "not today");
        assert!(report.all_well());
        assert!(!report.stage("bad", || anyhow::bail!("it broke")));
        assert!(!report.all_well());
    }
}
