//! Running other programs: quietly, watched, or in full view.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::ui::Step;

/// The last lines of a failed step's output that are shown.
const TAIL: usize = 20;

/// The standard output of a program that succeeds, else nothing.
pub fn probe(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a step whose output is shown only when it fails; ends it when it takes too long.
pub fn watched(label: &str, command: &mut Command, limit: Duration) -> Result<()> {
    let step = Step::begin(label);
    let mut tail = Vec::new();
    let outcome = watch(command, limit, |line| {
        step.progress(&line);
        if tail.len() == TAIL {
            tail.remove(0);
        }
        tail.push(line);
    });
    match outcome {
        Ok(status) if status.success() => {
            step.end("done");
            Ok(())
        }
        Ok(status) => {
            step.end("failed");
            bail!("{label} failed ({status}):\n  {}", tail.join("\n  "))
        }
        Err(error) => {
            step.end("failed");
            Err(error.context(format!("{label} failed")))
        }
    }
}

/// Runs a program and hands each line of its output on, until it ends or the time is up.
pub fn watch(
    command: &mut Command,
    limit: Duration,
    mut each: impl FnMut(String),
) -> Result<ExitStatus> {
    let deadline = Instant::now() + limit;
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {program}"))?;
    let (sender, lines) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        forward(stdout, sender.clone());
    }
    if let Some(stderr) = child.stderr.take() {
        forward(stderr, sender);
    }
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => each(line),
            Err(RecvTimeoutError::Disconnected) => {
                return child.wait().with_context(|| format!("waiting for {program}"));
            }
            Err(RecvTimeoutError::Timeout) => {
                child.kill().with_context(|| format!("ending {program}"))?;
                child.wait().with_context(|| format!("waiting for {program}"))?;
                bail!("{program} was ended after {} s without a result", limit.as_secs());
            }
        }
    }
}

fn forward(stream: impl Read + Send + 'static, sender: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
}

/// Runs a program in full view and fails when it does.
pub fn shown(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status =
        command.stdin(Stdio::null()).status().with_context(|| format!("starting {program}"))?;
    if !status.success() {
        bail!("{} failed ({status})", summary(command));
    }
    Ok(())
}

/// Runs a program in full view, and also hands on each line of its standard output.
pub fn teed(command: &mut Command, mut each: impl FnMut(&str)) -> Result<ExitStatus> {
    read_lines(command, |line| {
        anstream::println!("{line}");
        each(line);
    })
}

/// Runs a program whose standard output is for this one, line by line.
pub fn read_lines(command: &mut Command, mut each: impl FnMut(&str)) -> Result<ExitStatus> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {program}"))?;
    let stdout = child.stdout.take().context("the output pipe is gone")?;
    for line in BufReader::new(stdout).lines() {
        each(&line.with_context(|| format!("reading the output of {program}"))?);
    }
    child.wait().with_context(|| format!("waiting for {program}"))
}

/// The program and its verb, to name it in an error.
fn summary(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy();
    let verb = command.get_args().next().unwrap_or_default().to_string_lossy();
    format!("`{name} {verb}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script);
        command
    }

    #[test]
    fn both_streams_are_watched() {
        let mut seen = Vec::new();
        let status = watch(&mut shell("echo out; echo err >&2"), Duration::from_secs(20), |line| {
            seen.push(line);
        });
        seen.sort();
        assert_eq!(seen, ["err", "out"]);
        assert!(status.unwrap().success());
    }

    #[test]
    fn a_step_that_hangs_is_ended() {
        let started = Instant::now();
        let outcome = watch(&mut shell("exec sleep 60"), Duration::from_millis(50), drop);
        assert!(outcome.unwrap_err().to_string().contains("was ended after"));
        assert!(started.elapsed() < Duration::from_secs(30), "took {:?}", started.elapsed());
    }

    #[test]
    fn a_failure_names_the_command() {
        let error = shown(&mut shell("exit 3")).unwrap_err().to_string();
        assert!(error.contains("`sh -c`") && error.contains("exit status: 3"), "{error}");
    }

    #[test]
    fn only_success_is_probed() {
        assert_eq!(probe(&mut shell("echo yes")).as_deref(), Some("yes\n"));
        assert_eq!(probe(&mut shell("echo no; exit 1")), None);
        assert_eq!(probe(&mut Command::new("/nonexistent/program")), None);
    }
}
