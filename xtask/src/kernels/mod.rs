//! The kernel matrix: what balancer does on kernels other than the one that runs here.
//!
//! The stages, in their order:
//!
//! - [`series`] says which kernels, and where Debian has them,
//! - [`archive`] downloads their packages, in a state of apt of its own,
//! - [`modules`] picks the drivers that the tests need,
//! - [`suite`] says which tests run there,
//! - [`programs`] finds what runs there, for this architecture or another,
//! - [`payload`] gathers the programs, the tests and the libraries they need,
//! - [`initramfs`] packs all that into what the kernel unpacks into memory,
//! - [`machine`] boots it in an emulated machine and reads its serial console,
//! - [`guest`] is the first process there: it runs the jobs and tells what they came to,
//! - [`report`] judges by what was told, and draws the table.
//!
//! Emulated machines only, never KVM: the result must not depend on where this runs.

mod archive;
mod guest;
mod initramfs;
mod machine;
mod modules;
mod payload;
mod programs;
mod report;
mod series;
mod suite;

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};

pub use guest::{is_first_process, run_as_first_process};

use crate::{
    architecture::Architecture,
    cli::{KernelOptions, Preference},
    setup::{self, Needs},
    ui,
    workspace::{Workspace, is_root},
};
use archive::Archive;
use payload::Payload;
use programs::Programs;
use report::{Outcome, Row};
use series::{Promise, SERIES, Series};

/// How long one kernel may take, with all tests and a machine that has other things to do: some
/// three times of what it takes otherwise.
const LIMIT: Duration = Duration::from_secs(1500);

/// Boots the kernels; the exit code tells whether all kept what is promised for them.
pub fn run(
    workspace: &Workspace,
    preference: Preference,
    options: &KernelOptions,
) -> Result<ExitCode> {
    if !is_root() {
        bail!(
            "the programs for the machines are gathered as root: run `cargo xtask kernels` as root"
        );
    }
    let wanted = chosen(&options.only)?;
    let host = Architecture::of_host()?;
    let architecture = options.arch.unwrap_or(host);
    let tools = setup::for_machines(architecture);
    let mut folder = workspace.target.join("kernels");
    if architecture != host {
        folder.push(architecture.name());
    }
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let _lock = lock(&folder)?;

    ui::heading("packages");
    let archive = Archive::open(&folder, architecture);
    let mut rows = Vec::new();
    let mut kernels = Vec::new();
    for series in wanted {
        let there = tools.as_ref().map_err(|error| anyhow!("{error:#}"));
        match there.and_then(|()| archive.kernel(series)) {
            Ok(kernel) => {
                ui::note(&format!("{}: {}", series.name, kernel.release));
                kernels.push((series, kernel));
            }
            Err(error) => {
                ui::note(&format!("{} is left out: {error:#}", series.name));
                rows.push(Row::left_out(series, format!("{error:#}")));
            }
        }
    }
    if !kernels.is_empty() {
        ui::heading("programs and tests");
        let toolchain = setup::run(workspace, preference, Needs::LAB)?;
        let programs = if architecture == host {
            Programs::of_host(workspace, &toolchain)?
        } else {
            Programs::cross_built(workspace, &toolchain, architecture, &folder)?
        };
        let payload = Payload::gather(&programs, options.test.as_deref())?;
        ui::heading("machines");
        rows.extend(boot_all(&folder, architecture, &kernels, &payload));
    }
    rows.sort_by_key(|row| SERIES.iter().position(|series| series.name == row.series));
    report::print(&rows);
    // Whoever asks for a kernel by name wants to see it run.
    let well = report::all_well(&rows) && (options.only.is_empty() || report::all_ran(&rows));
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn chosen(only: &[String]) -> Result<Vec<&'static Series>> {
    if let Some(unknown) = only.iter().find(|name| SERIES.iter().all(|known| known.name != **name))
    {
        let known: Vec<_> = SERIES.iter().map(|series| series.name).collect();
        bail!("no kernel {unknown} here: choose from {}", known.join(", "));
    }
    let wanted = |series: &&Series| only.is_empty() || only.iter().any(|name| name == series.name);
    Ok(SERIES.iter().filter(wanted).collect())
}

/// The lock of a folder, for as long as this lives.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // flock(2): a child that was forked meanwhile has a copy of the descriptor until it calls
        // execve(), and closing this one would leave the lock to it. Unlocking ends it for both.
        let _ = self.0.unlock();
    }
}

/// Two runs would write to the same folders.
fn lock(folder: &Path) -> Result<Lock> {
    let path = folder.join("lock");
    let file = File::create(&path).with_context(|| format!("opening {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => {
            bail!("another `cargo xtask kernels` is running in {}; wait for it", folder.display())
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("locking {}", path.display()))
        }
    }
}

/// Boots as many at once as there are processors: each machine has one.
fn boot_all(
    folder: &Path,
    architecture: Architecture,
    kernels: &[(&'static Series, archive::Kernel)],
    payload: &Payload,
) -> Vec<Row> {
    let waiting = Mutex::new(kernels.iter());
    let rows = Mutex::new(Vec::new());
    let machines = thread::available_parallelism().map_or(1, usize::from).min(kernels.len());
    thread::scope(|scope| {
        for _ in 0..machines {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().map(|mut all| all.next());
                    let Ok(Some((series, kernel))) = next else { return };
                    let row = boot(folder, architecture, series, kernel, payload);
                    if let Ok(mut rows) = rows.lock() {
                        rows.push(row);
                    }
                }
            });
        }
    });
    rows.into_inner().unwrap_or_default()
}

fn boot(
    folder: &Path,
    architecture: Architecture,
    series: &'static Series,
    kernel: &archive::Kernel,
    payload: &Payload,
) -> Row {
    let started = Instant::now();
    ui::note(&format!("{}: booting {}", series.name, kernel.release));
    let mut outcome = Outcome::default();
    let console: PathBuf = folder.join(format!("{}.log", series.name));
    let image = Scratch(folder.join(format!("{}.initramfs", series.name)));
    let ran = initramfs::write(&image.0, kernel, payload, series)
        .and_then(|size| {
            let (kernel, initramfs) = (&kernel.image, &image.0);
            let machine = machine::Machine { architecture, kernel, initramfs, size };
            machine.run(&console, LIMIT, |line| outcome.read(line))
        })
        .and_then(|()| match series.promise {
            Promise::Works => outcome.check_works(),
            Promise::Refused => outcome.check_refused(),
        });
    let row = Row::new(series, kernel, outcome, ran.err(), started.elapsed());
    ui::note(&format!("{}: {}, console in {}", series.name, row.verdict(), console.display()));
    row
}

/// A file that is gone when this is dropped.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may never have been written; the next run writes over it in any case.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_chosen_by_name() {
        let names = |only: &[&str]| {
            let only: Vec<_> = only.iter().map(|&name| name.to_owned()).collect();
            chosen(&only).map(|all| all.iter().map(|series| series.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["6.1"]).unwrap(), ["6.1"]);
        assert_eq!(names(&[]).unwrap().len(), SERIES.len());
        let error = names(&["6.2"]).unwrap_err().to_string();
        assert!(error.contains("6.2") && error.contains("6.12"), "{error}");
    }

    #[test]
    fn a_second_run_waits_for_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let first = lock(folder.path()).unwrap();
        let error = lock(folder.path()).unwrap_err().to_string();
        assert!(error.contains("is running"), "{error}");
        drop(first);
        lock(folder.path()).unwrap();
    }
}
