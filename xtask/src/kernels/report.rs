//! What the machines told, and the table of it.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, bail, ensure};

use super::{archive::Kernel, guest, payload::REFUSAL, series::Series, suite::VERIFIER};
use crate::{
    test::Outcome as Tests,
    ui::{self, BAD, GOOD, LEFT_OUT},
};

/// The most instructions that the verifier may look at for one program, on any kernel: a tenth of
/// what it would allow, so that a kernel that follows more ways does not refuse.
pub const MOST_VERIFIED: u64 = 100_000;
/// What a test prints for each program: `verified connect4 12345`.
const VERIFIED: &str = "verified ";

/// What the console of one machine said so far.
#[derive(Debug, Default)]
pub struct Outcome {
    release: Option<String>,
    tests: Tests,
    /// Instructions that the verifier looked at, for each program.
    verified: BTreeMap<String, u64>,
    /// Jobs that ended, with their exit codes.
    ended: BTreeMap<String, i32>,
    running: Option<String>,
    /// What the job that should be refused said.
    refusal: Vec<String>,
    broken: Option<String>,
    done: bool,
}

impl Outcome {
    /// Takes in one line.
    pub fn read(&mut self, line: &str) {
        // Output without an end of line stands before it.
        let marked = line.find(guest::MARK).map(|at| &line[at + guest::MARK.len()..]);
        match marked.and_then(|told| told.split_once(' ').or(Some((told, "")))) {
            Some(("kernel", release)) => self.release = Some(release.to_owned()),
            Some(("begin", job)) => self.running = Some(job.to_owned()),
            Some(("end", told)) => {
                if let Some((job, code)) = told.rsplit_once(' ') {
                    self.ended.insert(job.to_owned(), code.parse().unwrap_or(-1));
                }
                self.running = None;
            }
            Some(("broken", why)) => self.broken = Some(why.to_owned()),
            Some((guest::DONE, _)) => self.done = true,
            _ => self.read_output(line),
        }
    }

    fn read_output(&mut self, line: &str) {
        if let Some((program, count)) =
            line.strip_prefix(VERIFIED).and_then(|rest| rest.split_once(' '))
            && let Ok(count) = count.parse()
        {
            self.verified.insert(program.to_owned(), count);
        }
        if self.running.as_deref() == Some(REFUSAL) {
            self.refusal.push(line.to_owned());
        }
        self.tests.read(line);
    }

    /// The program that the verifier looked at longest.
    fn largest(&self) -> Option<(&str, u64)> {
        self.verified.iter().map(|(name, count)| (name.as_str(), *count)).max_by_key(|(_, n)| *n)
    }

    /// Whether everything ran and went well.
    pub fn check_works(&self) -> Result<()> {
        self.check_ran()?;
        let failed: Vec<_> = self
            .ended
            .iter()
            .filter(|(_, code)| **code != 0)
            .map(|(job, _)| job.as_str())
            .collect();
        ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
        ensure!(self.tests.passed > 0, "no test ran");
        if !self.ended.contains_key(VERIFIER) {
            return Ok(());
        }
        let Some((program, count)) = self.largest() else {
            bail!("no test told how many instructions were verified");
        };
        ensure!(
            count <= MOST_VERIFIED,
            "the verifier looked at {count} instructions of {program}: {MOST_VERIFIED} is the most"
        );
        Ok(())
    }

    /// Whether the agent said why it does not run there, in one line.
    pub fn check_refused(&self) -> Result<()> {
        self.check_ran()?;
        let said = self.refusal.join("\n");
        let code = self.ended.get(REFUSAL);
        ensure!(code == Some(&4), "the agent ended with {code:?}, not 4: {said}");
        ensure!(
            self.refusal.len() == 1 && said.contains("or newer"),
            "the agent did not say in one line what it takes: {said}"
        );
        Ok(())
    }

    fn check_ran(&self) -> Result<()> {
        if let Some(why) = &self.broken {
            bail!("in the machine: {why}");
        }
        if let Some(job) = &self.running {
            bail!("the machine ended during {job}");
        }
        ensure!(self.release.is_some(), "the machine ended before the first job");
        ensure!(self.done, "the machine ended before the last job");
        Ok(())
    }
}

/// One line of the table.
#[derive(Debug)]
pub struct Row {
    /// The series of the kernel.
    pub series: &'static str,
    kernel: String,
    state: State,
}

#[derive(Debug)]
enum State {
    LeftOut(String),
    Ran { outcome: Box<Outcome>, error: Option<String>, took: Duration },
}

impl Row {
    /// A kernel that could not be had.
    pub fn left_out(series: &'static Series, why: String) -> Self {
        Self { series: series.name, kernel: series.name.to_owned(), state: State::LeftOut(why) }
    }

    /// A kernel that was booted.
    pub fn new(
        series: &'static Series,
        kernel: &Kernel,
        outcome: Outcome,
        error: Option<anyhow::Error>,
        took: Duration,
    ) -> Self {
        let error = error.map(|error| format!("{error:#}"));
        Self {
            series: series.name,
            kernel: kernel.release.clone(),
            state: State::Ran { outcome: Box::new(outcome), error, took },
        }
    }

    /// In a word, or why not.
    pub fn verdict(&self) -> String {
        match &self.state {
            State::LeftOut(why) => format!("left out: {why}"),
            State::Ran { error: Some(error), .. } => format!("FAILED: {error}"),
            State::Ran { outcome, .. } if outcome.refusal.is_empty() => "ok".to_owned(),
            State::Ran { outcome, .. } => {
                format!("refused, as it should be: {}", outcome.refusal[0])
            }
        }
    }

    fn cells(&self) -> [String; 5] {
        let none = || "-".to_owned();
        let kernel = self.kernel.clone();
        match &self.state {
            State::LeftOut(_) => [kernel, none(), none(), none(), none()],
            State::Ran { outcome, took, .. } => {
                let verified = outcome.largest();
                [
                    kernel,
                    verified.map_or_else(none, |_| outcome.verified.len().to_string()),
                    verified.map_or_else(none, |(name, count)| format!("{count} {name}")),
                    outcome.tests.passed.to_string(),
                    took.as_secs().to_string(),
                ]
            }
        }
    }
}

/// Whether no kernel failed.
pub fn all_well(rows: &[Row]) -> bool {
    !rows.iter().any(|row| matches!(&row.state, State::Ran { error: Some(_), .. }))
}

/// Whether none was left out.
pub fn all_ran(rows: &[Row]) -> bool {
    rows.iter().all(|row| matches!(&row.state, State::Ran { .. }))
}

/// Prints the table and the sum.
pub fn print(rows: &[Row]) {
    ui::heading("kernels");
    let [a, b, c, d, e] = ["kernel", "programs", "most verified", "passed", "seconds"];
    anstream::println!("{a:<34} {b:>8}  {c:<18} {d:>6} {e:>7}");
    for row in rows {
        let [kernel, programs, verified, passed, seconds] = row.cells();
        let style = match &row.state {
            State::LeftOut(_) => LEFT_OUT,
            State::Ran { error: Some(_), .. } => BAD,
            State::Ran { .. } => GOOD,
        };
        let verdict = row.verdict();
        anstream::println!(
            "{kernel:<34} {programs:>8}  {verified:<18} {passed:>6} {seconds:>7}  {style}{verdict}{style:#}"
        );
    }
    let ran = rows.iter().filter_map(|row| match &row.state {
        State::Ran { outcome, .. } => Some(&outcome.tests),
        State::LeftOut(_) => None,
    });
    let (mut passed, mut failed) = (0, 0);
    for tests in ran {
        passed += tests.passed;
        failed += tests.failed.len();
        for name in &tests.failed {
            anstream::println!("{BAD}failed:{BAD:#} {name}");
        }
    }
    let word = if all_well(rows) { "ok" } else { "FAILED" };
    anstream::println!("test result: {word}. {passed} passed; {failed} failed; 0 ignored");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(console: &str) -> Outcome {
        let mut outcome = Outcome::default();
        console.lines().for_each(|line| outcome.read(line));
        outcome
    }

    const WELL: &str = "@@ kernel 6.1.0-56\n\
                        @@ begin verifier\n\
                        verified connect4 21000\n\
                        verified release 400\n\
                        test result: ok. 1 passed; 0 failed; 0 ignored\n\
                        @@ end verifier 0\n\
                        @@ begin counting\n\
                        test forks ... test result: ok. 8 passed; 0 failed; 1 ignored\n\
                        @@ end counting 0\n\
                        @@ done";

    #[test]
    fn a_machine_that_told_everything_is_well() {
        let well = outcome(WELL);
        well.check_works().unwrap();
        assert_eq!(well.largest(), Some(("connect4", 21_000)));
        assert_eq!(well.tests.passed, 1);
    }

    #[test]
    fn what_is_missing_is_named() {
        for (from, to, want) in [
            ("@@ done", "", "before the last job"),
            ("@@ kernel 6.1.0-56", "Kernel panic - not syncing", "before the first job"),
            ("@@ end counting 0\n@@ done", "Kernel panic", "during counting"),
            ("@@ end counting 0", "@@ end counting 101", "failed: counting"),
            ("@@ done", "@@ broken no such program", "no such program"),
            ("connect4 21000", "connect4 100001", "100001 instructions of connect4"),
        ] {
            let error = outcome(&WELL.replace(from, to)).check_works().unwrap_err().to_string();
            assert!(error.contains(want), "{error:?} does not say {want:?}");
        }
    }

    #[test]
    fn a_refusal_is_one_line_and_exit_code_4() {
        let said = "@@ kernel 5.10\n@@ begin refusal\nerror: Linux 5.15 or newer\n@@ end refusal 4\n@@ done";
        outcome(said).check_refused().unwrap();
        for (from, to) in [("refusal 4", "refusal 1"), ("or newer", "or newer\nhelp")] {
            outcome(&said.replace(from, to)).check_refused().unwrap_err();
        }
    }
}
