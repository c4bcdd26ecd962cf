//! Inside the machine: this same program is the first process there. It mounts what a node has,
//! loads the drivers, runs the jobs one after the other and switches the machine off.
//!
//! All it has to tell goes to the serial console, on lines that begin with [`MARK`].

use std::{
    fs::{self, File},
    path::Path,
    process::{self, Command, Stdio},
};

use anyhow::{Context, Result};
use nix::{
    kmod::{ModuleInitFlags, finit_module},
    mount::{MsFlags, mount},
    sys::{
        reboot::{RebootMode, reboot},
        wait::{WaitStatus, wait},
    },
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

/// What the lines for the other side begin with.
pub const MARK: &str = "@@ ";
/// The last of them: without it something ended before its time.
pub const DONE: &str = "done";
/// The list of jobs.
pub const JOBS: &str = "jobs.json";
/// The folder of drivers, in the order of their names.
pub const MODULES: &str = "modules";
/// What has to be there to be mounted on.
pub const FOLDERS: [&str; 6] = ["dev", "proc", "sys", "run", "tmp", "empty"];

/// A program to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its name in the report.
    pub name: String,
    /// The program's path.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its environment.
    pub environment: Vec<(String, String)>,
}

/// Whether this is the first process of a machine.
pub fn is_first_process() -> bool {
    process::id() == 1
}

/// Runs the jobs. The machine is off when this is over.
pub fn run_as_first_process() -> Result<()> {
    let ran = prepare().and_then(|()| jobs());
    match &ran {
        Ok(()) => println!("{MARK}{DONE}"),
        Err(error) => println!("{MARK}broken {error:#}"),
    }
    // With `-no-reboot` it ends there.
    reboot(RebootMode::RB_AUTOBOOT).context("switching the machine off")?;
    Ok(())
}

fn prepare() -> Result<()> {
    let shared = MsFlags::empty();
    for (kind, target) in [
        ("devtmpfs", "/dev"),
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("tmpfs", "/run"),
        ("tmpfs", "/tmp"),
        ("cgroup2", "/sys/fs/cgroup"),
        ("bpf", "/sys/fs/bpf"),
    ] {
        mount(Some(kind), target, Some(kind), shared, None::<&str>)
            .with_context(|| format!("mounting {target}"))?;
    }
    let mut modules: Vec<_> = fs::read_dir(Path::new("/").join(MODULES))
        .context("listing the modules")?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    modules.sort();
    for module in modules {
        let file = File::open(&module).with_context(|| format!("opening {}", module.display()))?;
        finit_module(file, c"", ModuleInitFlags::empty())
            .with_context(|| format!("loading {}", module.display()))?;
    }
    fs::write("/proc/sys/kernel/hostname", "machine").context("naming the machine")?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").context("asking the kernel")?;
    println!("{MARK}kernel {}", release.trim());
    Ok(())
}

fn jobs() -> Result<()> {
    let text = fs::read_to_string(Path::new("/").join(JOBS)).context("reading the jobs")?;
    let jobs: Vec<Job> = serde_json::from_str(&text).context("reading the jobs")?;
    for job in jobs {
        println!("{MARK}begin {}", job.name);
        println!("{MARK}end {} {}", job.name, run(&job)?);
    }
    Ok(())
}

/// The exit code of a job; as in a shell, more than 128 is a signal.
fn run(job: &Job) -> Result<i32> {
    let child = Command::new(&job.program)
        .args(&job.arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .envs(job.environment.iter().cloned())
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("starting {}", job.program))?;
    let wanted = Pid::from_raw(child.id().cast_signed());
    // Orphans come to the first process, and stay zombies until it asks for them.
    loop {
        match wait().with_context(|| format!("waiting for {}", job.name))? {
            WaitStatus::Exited(pid, code) if pid == wanted => return Ok(code),
            WaitStatus::Signaled(pid, signal, _) if pid == wanted => {
                return Ok(128 + signal as i32);
            }
            _ => {}
        }
    }
}
