//! What the agent says of its passes.

use std::time::{Duration, Instant};

use balancer_lab::{
    Agent,
    error::{Error, Result},
};

use crate::bench::tail::Tail;

/// How long passes may not be as wanted.
const PATIENCE: Duration = Duration::from_secs(120);

/// A pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pass {
    /// Connections that were looked at.
    pub(super) connections: usize,
    /// Those of them that the kernel was asked about.
    pub(super) asked: usize,
    /// Those that were ended.
    pub(super) ended: usize,
    /// Processor time.
    pub(super) millis: f64,
}

/// The passes of an agent.
pub(super) struct Log(Tail);

impl Log {
    pub(super) fn open(agent: &Agent) -> Result<Self> {
        Tail::open(agent).map(Self)
    }

    /// The next pass that is as wanted.
    pub(super) fn next(&mut self, what: &str, wanted: impl Fn(&Pass) -> bool) -> Result<Pass> {
        let deadline = Instant::now() + PATIENCE;
        let mut last = None;
        while let Some(pass) = self.0.next(PATIENCE, parse)? {
            if wanted(&pass) {
                return Ok(pass);
            }
            last = Some(pass);
            if Instant::now() > deadline {
                break;
            }
        }
        Err(Error::Unmet(format!("no pass of the agent {what} in time; the last: {last:?}")))
    }
}

fn parse(line: &str) -> Option<Pass> {
    let (_, fields) = line.split_once("a pass over connections ")?;
    let field = |name: &str| {
        let found =
            fields.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        found?.parse::<usize>().ok()
    };
    Some(Pass {
        connections: field("connections")?,
        asked: field("asked")?,
        ended: field("ended")?,
        millis: field("micros")? as f64 / 1e3,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_are_read_from_the_log() {
        let line = "2026-01-01T00:00:00Z DEBUG a pass over connections connections=20 asked=13 \
                    ended=0 micros=1500\n";
        let pass = Pass { connections: 20, asked: 13, ended: 0, millis: 1.5 };
        assert_eq!(parse(line), Some(pass));
        assert_eq!(parse("2026-01-01T00:00:00Z INFO programs attached\n"), None);
    }
}
