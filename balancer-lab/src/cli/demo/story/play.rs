//! How one side goes through a story.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use balancer_lab::http::{Client, LoadOptions, Report, Until};

use super::{
    Course,
    sample::Sampler,
    script::Script,
    side::Side,
    stage::{PORT, Stage, VIP},
};

/// Between two requests of a client.
const PACE: Duration = Duration::from_millis(100);
/// Between two samples.
const TICK: Duration = Duration::from_millis(250);

/// Has one side go through a story.
pub(super) fn play(side: Side, script: &Script) -> Result<Course> {
    let mut stage = Stage::build(side, script)?;
    let uri = format!("http://{VIP}/").parse()?;
    let mut options =
        LoadOptions::new(uri, script.clients, script.pools, Until::Elapsed(script.length));
    options.pace = PACE;
    let start = |pod: &balancer_lab::Pod| Client::start(pod.place(), &options);
    let mut clients = stage.clients.iter().map(start).collect::<Result<Vec<_>, _>>()?;
    clients.iter_mut().try_for_each(Client::go)?;
    let started = Instant::now();
    let mut events = script.events.iter().peekable();
    let (mut sampler, mut samples, mut joined) = (Sampler::default(), Vec::new(), 0.0);
    for tick in 1.. {
        let at = TICK * tick;
        if at >= script.length {
            break;
        }
        thread::sleep((started + at).saturating_duration_since(Instant::now()));
        while let Some((_, event)) = events.next_if(|(due, _)| *due <= at) {
            stage.happen(*event)?;
            joined = started.elapsed().as_secs_f64();
        }
        samples.push(sampler.take(&stage.pods, PORT, started.elapsed())?);
    }
    let mut report = Report::default();
    for client in &mut clients {
        report.merge(client.report()?);
    }
    let (ended, requests) = (stage.ended()?, report.requests());
    let Report { failed_at: failed, first_error, .. } = report;
    Ok(Course { side, samples, ended, requests, failed, first_error, joined })
}
