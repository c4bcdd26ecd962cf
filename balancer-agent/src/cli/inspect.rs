//! What the inspecting verbs share: where to ask, whom, and how to show it.

use std::path::PathBuf;

use super::{
    exit::{Exit, Failure},
    print,
};
use crate::{
    api::{Client, ClientError},
    config::{DEFAULT_BPFFS, DEFAULT_SOCKET},
    observe::{ObserveError, Offline},
    render::Output,
    view::Question,
};

/// Neither the agent nor what it left in the kernel can be asked.
#[derive(Debug, thiserror::Error)]
#[error("{away}; {maps}")]
struct Silent {
    away: ClientError,
    maps: ObserveError,
}

/// Flags of every inspecting verb.
#[derive(Debug, clap::Args)]
pub(super) struct Where {
    /// Form of the output
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    pub(super) output: Output,

    /// Socket of the agent
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,

    /// Folder of the pins, read when the agent does not answer
    #[arg(long, value_name = "PATH", default_value = DEFAULT_BPFFS)]
    bpffs: PathBuf,
}

impl Where {
    /// Asks the agent, which alone can answer.
    pub(super) fn tell<Q: Question>(&self, question: &Q) -> Result<Q::Answer, Failure> {
        self.talk(async |client| client.ask(question).await)
    }

    /// Asks the agent several times.
    pub(super) fn talk<T>(
        &self,
        agent: impl AsyncFnOnce(&Client) -> Result<T, ClientError>,
    ) -> Result<T, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(agent(&Client::new(&self.socket))).map_err(|error| match error {
            ClientError::Unreachable { .. } | ClientError::Slow { .. } => {
                Failure::new(Exit::Unreachable, error)
            }
            other => other.into(),
        })
    }

    /// Asks the agent; if it does not answer, reads what its maps hold, and says so.
    pub(super) fn ask<Q: Question>(
        &self,
        question: &Q,
        maps: impl FnOnce(&Offline) -> Result<Q::Answer, ObserveError>,
    ) -> Result<Q::Answer, Failure> {
        let client = Client::new(&self.socket);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let away = match runtime.block_on(client.ask(question)) {
            Ok(view) => return Ok(view),
            Err(away @ (ClientError::Unreachable { .. } | ClientError::Slow { .. })) => away,
            Err(error) => return Err(error.into()),
        };
        let held = Offline::open(&self.bpffs).and_then(|offline| maps(&offline));
        let view = match held {
            Ok(view) => view,
            Err(maps) => return Err(Failure::new(Exit::Unreachable, Silent { away, maps })),
        };
        print::note(&format!(
            "{away}: showing what the maps hold; node, zone, source and problems are unknown"
        ));
        Ok(view)
    }
}
