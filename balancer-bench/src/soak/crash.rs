//! The agent is killed at any moment, or replaced, while connections are made and while it writes.

use std::{
    fs, ops::Range, os::unix::process::ExitStatusExt as _, process::ExitStatus, thread,
    time::Duration,
};

use balancer_lab::{
    Agent,
    error::{Attempt, Error, Result, on},
};
use nix::libc::SIGKILL;
use rand::{Rng as _, rngs::StdRng};

use super::{editions::Editions, outcome::Outcome, stage::Stage};

/// Longest time from a change of the folder, or from a start, to the kill: longer than a plan, or a
/// start, takes.
const MOMENT: Duration = Duration::from_millis(600);

/// Kills the agent so often, at random moments: while it plans and writes a new edition, or while
/// it starts. It runs and has written everything when this returns.
pub(super) fn crash(
    stage: &mut Stage,
    editions: &mut Editions,
    rng: &mut StdRng,
    times: u64,
    outcome: &mut Outcome,
) -> Result<()> {
    for _ in 0..times {
        if rng.random() {
            editions.next(&stage.manifests)?;
        } else {
            ended(stage.agent.terminate()?, None, &stage.agent)?;
            stage.agent.launch()?;
        }
        thread::sleep(MOMENT.mul_f64(rng.random()));
        ended(stage.agent.kill()?, Some(SIGKILL), &stage.agent)?;
        outcome.crashes += 1;
        stage.agent.resume()?;
        let writes = writes(&stage.agent)?;
        outcome.finished += u64::from(writes.last().is_some_and(|last| *last > 0));
        outcome.writes = writes.into_iter().fold(outcome.writes, u64::max);
        editions.check(&stage.agent)?;
    }
    Ok(())
}

/// Starts the agent from another file for each of these numbers.
pub(super) fn upgrade(stage: &mut Stage, rng: &mut StdRng, numbers: Range<u64>) -> Result<()> {
    for number in numbers {
        let before = programs(&stage.agent)?;
        let file = stage.lab.state_dir().join(format!("agent-{number}"));
        let current = stage.agent.binary().to_owned();
        fs::copy(&current, &file).attempt(on("copy the agent to", &file))?;
        thread::sleep(MOMENT.mul_f64(rng.random()) / 4);
        stage.agent.terminate()?;
        stage.agent.set_binary(file);
        stage.agent.resume()?;
        if current.starts_with(stage.lab.state_dir()) {
            fs::remove_file(&current).attempt(on("remove", &current))?;
        }
        let after = programs(&stage.agent)?;
        if before.iter().any(|id| after.contains(id)) {
            return Err(Error::Unmet(format!(
                "the upgrade left programs in place: {before:?} before, {after:?} after"
            )));
        }
    }
    Ok(())
}

/// An agent that ended in another way than it was told to failed.
fn ended(status: ExitStatus, signal: Option<i32>, agent: &Agent) -> Result<()> {
    if status.signal() == signal && (signal.is_some() || status.success()) {
        return Ok(());
    }
    let log = balancer_lab::host::tail(&agent.log()?, 20);
    Err(Error::Unmet(format!("the agent ended by itself: {status}\n{log}")))
}

/// Identifiers of the attached programs.
fn programs(agent: &Agent) -> Result<Vec<u64>> {
    let status = agent.json(&["status"])?;
    let programs = status["programs"].as_array().into_iter().flatten();
    let ids: Option<Vec<_>> = programs.map(|program| program["id"].as_u64()).collect();
    match ids {
        Some(ids) if !ids.is_empty() => Ok(ids),
        _ => Err(Error::Unmet(format!("not every program is attached: {}", status["programs"]))),
    }
}

/// Writes of each plan of the agent so far, as its log tells.
fn writes(agent: &Agent) -> Result<Vec<u64>> {
    let log = agent.log()?;
    let plans = log.lines().filter(|line| line.contains("maps are up to date"));
    let number = |line: &str| line.split_once(" writes=")?.1.split(' ').next()?.parse().ok();
    let writes: Option<Vec<_>> = plans.map(number).collect();
    writes.ok_or_else(|| Error::Unmet(format!("the log of the agent tells no writes: {log}")))
}
