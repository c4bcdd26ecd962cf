//! What the inspecting verbs share: where to ask, whom, and how to show it.

use std::{
    ffi::OsString,
    fmt,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

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

    #[command(flatten)]
    place: Place,
}

impl Deref for Where {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

/// Whom to ask.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Place {
    /// Socket of the agent
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,

    /// Folder of the pins, read when the agent does not answer
    #[arg(long, value_name = "PATH", default_value = DEFAULT_BPFFS)]
    bpffs: PathBuf,

    #[arg(skip)]
    held: Held,
}

/// The maps that were read last, while no agent answers.
#[derive(Clone, Default)]
struct Held(Arc<Mutex<Option<Offline>>>);

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

impl Held {
    /// Asks the maps that are pinned now.
    fn ask<T>(
        &self,
        bpffs: &Path,
        maps: impl FnOnce(&Offline) -> Result<T, ObserveError>,
    ) -> Result<T, ObserveError> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let offline = match held.take().filter(Offline::is_current) {
            Some(offline) => offline,
            None => Offline::open(bpffs)?,
        };
        maps(held.insert(offline))
    }

    /// An agent answers again, which may write other maps.
    fn let_go(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Place {
    /// These, or what holds where they are not given.
    pub(super) fn or_default(socket: Option<OsString>, bpffs: Option<OsString>) -> Self {
        Self {
            socket: socket.unwrap_or_else(|| DEFAULT_SOCKET.into()).into(),
            bpffs: bpffs.unwrap_or_else(|| DEFAULT_BPFFS.into()).into(),
            held: Held::default(),
        }
    }

    /// Socket of the agent.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Folder of the pins.
    pub(super) fn bpffs(&self) -> &Path {
        &self.bpffs
    }

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
        let (view, away) = self.look(question, maps)?;
        if let Some(away) = away {
            print::note(&away);
        }
        Ok(view)
    }

    /// The same; what is to be said where the agent does not answer is beside the view.
    pub(super) fn look<Q: Question>(
        &self,
        question: &Q,
        maps: impl FnOnce(&Offline) -> Result<Q::Answer, ObserveError>,
    ) -> Result<(Q::Answer, Option<String>), Failure> {
        let client = Client::new(&self.socket);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let away = match runtime.block_on(client.ask(question)) {
            Ok(view) => {
                self.held.let_go();
                return Ok((view, None));
            }
            Err(away @ (ClientError::Unreachable { .. } | ClientError::Slow { .. })) => away,
            Err(error) => return Err(error.into()),
        };
        let view = match self.held.ask(&self.bpffs, maps) {
            Ok(view) => view,
            Err(maps) => return Err(Failure::new(Exit::Unreachable, Silent { away, maps })),
        };
        let note = format!(
            "{away}: showing what the maps hold; node, zone, source and problems are unknown"
        );
        Ok((view, Some(note)))
    }
}
