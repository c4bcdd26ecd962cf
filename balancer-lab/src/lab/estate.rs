//! What a lab has on the machine under its identifier, from its entry in the register to its removal.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use super::{
    place::{Bond, Place},
    state, sweep,
};
use crate::{
    error::{Attempt, Result},
    host,
};

/// A lab's identifier, directory and cgroup. Dropping it removes everything with that identifier.
#[derive(Debug)]
pub(super) struct Estate {
    state: state::State,
    cgroup: PathBuf,
    bond: Bond,
}

impl Estate {
    /// Enters a lab into the register, after removing what dead owners left behind.
    pub(super) fn enrol(name: &str, bond: Bond) -> Result<Self> {
        let root = host::cgroup2_root()?;
        let census = state::Census::take()?;
        sweep::sweep_dead(&census)?;
        let state = census.enrol(name)?;
        let cgroup = root.join(state::cgroup_name(state.id()));
        Ok(Self { state, cgroup, bond })
    }

    pub(super) fn id(&self) -> &str {
        self.state.id()
    }

    pub(super) fn dir(&self) -> &Path {
        self.state.dir()
    }

    /// The cgroup above every process of the lab.
    pub(super) fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// A network namespace of the lab, and a cgroup below its own.
    pub(super) fn place(&self, netns: Option<&str>, cgroup: &Path) -> Place {
        Place::new(state::netns_name(self.id(), netns), cgroup.to_owned(), self.bond)
    }

    /// Leaves everything up when the caller exits, held by a small process in `place`.
    pub(super) fn leave(mut self, place: &Place) -> Result<()> {
        let holder = host::binary("balancer-lab", "BALANCER_LAB_BIN")?;
        fs::write(self.dir().join(state::KEPT), "").attempt("mark the lab as kept")?;
        // The lock belongs to the open file, which the holder inherits as its standard input.
        place
            .command(holder)
            .arg("hold")
            .stdin(self.state.share_lock()?)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .attempt("start the process that holds the lab")?;
        self.state.disown();
        Ok(())
    }
}

impl Drop for Estate {
    fn drop(&mut self) {
        if self.state.disowned() {
            return;
        }
        let _building = state::building();
        if let Err(error) = sweep::remove(self.id()) {
            // Nobody is left to return it to; the next run's sweep tries again.
            anstream::eprintln!("lab {}: {error}", self.id());
        }
        self.state.disown();
    }
}
