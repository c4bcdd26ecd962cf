//! Where things are: the repository, its target directory, the programs it builds.

use std::{
    env,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use cargo_metadata::MetadataCommand;

/// The paths of this repository.
#[derive(Debug)]
pub struct Workspace {
    /// The root of the repository.
    pub root: PathBuf,
    /// Cargo's target directory.
    pub target: PathBuf,
    /// The cargo that runs this program.
    pub cargo: PathBuf,
}

impl Workspace {
    /// Finds the paths from what `cargo run` tells its child.
    pub fn locate() -> Result<Self> {
        let told = |name| env::var_os(name).map(PathBuf::from).context("run this by `cargo xtask`");
        let (cargo, manifest) = (told("CARGO")?, told("CARGO_MANIFEST_DIR")?);
        let root = manifest.parent().context("xtask stands at the root of a disk")?.to_owned();
        // Not `$CARGO_TARGET_DIR`: a configuration file can set the target directory too, and
        // this program always stands in it, at `<target>/debug/xtask`.
        let program = env::current_exe().context("finding this program's own path")?;
        let target = program
            .parent()
            .and_then(Path::parent)
            .context("this program does not stand in a target directory")?
            .to_owned();
        Ok(Self { root, target, cargo })
    }

    /// The eBPF object that the agent embeds.
    pub fn object(&self) -> PathBuf {
        self.target.join("balancer.bpf.o")
    }

    /// The linkers that `setup` built, by the version of their LLVM.
    pub fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// Cargo for this machine's own crates.
    pub fn cargo(&self, verb: &str) -> Command {
        let mut cargo = Command::new(&self.cargo);
        cargo.arg(verb).arg("--target-dir").arg(&self.target).current_dir(&self.root);
        // Build scripts are run again when what they read of these changes (ring's does): without
        // them, cargo here and cargo from a shell build the same once.
        for (name, _) in env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                cargo.env_remove(name.as_ref());
            }
        }
        self.tell_object(&mut cargo);
        cargo
    }

    /// What cargo says of the crates; options are still to be set.
    pub fn metadata(&self) -> MetadataCommand {
        let mut metadata = MetadataCommand::new();
        metadata.cargo_path(&self.cargo).current_dir(&self.root);
        metadata
    }

    /// Flags for the compiler by which a build names files alike wherever it takes place: messages of
    /// panics and debug information carry these names.
    pub fn remapped(&self) -> Vec<String> {
        let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo"));
        let registry = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home);
        let places = [(Some(self.root.clone()), "/balancer"), (registry, "/cargo")];
        let flag = |(from, to): (Option<PathBuf>, &str)| {
            from.map(|from| format!("--remap-path-prefix={}={to}", from.display()))
        };
        places.into_iter().filter_map(flag).collect()
    }

    /// Tells the agent's build script where the object is. Not when it is where the script looks
    /// by itself: a variable that comes and goes would rebuild the agent each time.
    fn tell_object(&self, cargo: &mut Command) {
        if self.target == self.root.join("target") {
            cargo.env_remove("BALANCER_EBPF_OBJECT");
        } else {
            cargo.env("BALANCER_EBPF_OBJECT", self.object());
        }
    }
}

/// Whether this process may create namespaces and load programs.
pub fn is_root() -> bool {
    // The kernel gives a process's own entry to its effective user.
    std::fs::metadata("/proc/self").is_ok_and(|entry| entry.uid() == 0)
}

/// Finds a command as a shell would, also where Debian hides the administrator's ones.
pub fn find_command(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
}
