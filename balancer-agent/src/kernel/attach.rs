//! One program, attached through a pinned link.

use std::{fs::File, io, os::unix::fs::MetadataExt as _, panic::resume_unwind, path::Path, thread};

use aya::{
    Ebpf,
    programs::{CgroupAttachMode, Program, ProgramError, ProgramFd, links::FdLink},
};

use super::{
    KernelError,
    link::{self, PROGRAMS},
};
use crate::{bpf, maps::pins::Pins};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The cgroup to attach to.
pub struct Target<'a> {
    path: &'a Path,
    directory: File,
    id: u64,
}

impl<'a> Target<'a> {
    /// Opens the directory of a cgroup.
    pub fn open(path: &'a Path) -> Result<Self, KernelError> {
        let open = || {
            let directory = File::open(path)?;
            let id = directory.metadata()?.ino();
            Ok((directory, id))
        };
        let opened: io::Result<_> = open();
        let (directory, id) =
            opened.map_err(|source| KernelError::Cgroup { path: path.into(), source })?;
        Ok(Self { path, directory, id })
    }

    fn failed(&self, program: &'static str, source: impl Into<BoxError>) -> KernelError {
        KernelError::Attach { program, cgroup: self.path.into(), source: source.into() }
    }
}

/// Loads the programs, all at the same time: what the verifier takes for the four that choose is most
/// of a start, and it takes programs of a privileged process side by side.
pub fn verify(ebpf: &mut Ebpf) -> Result<(), KernelError> {
    thread::scope(|scope| {
        let known = |(name, program)| {
            let name = PROGRAMS.into_iter().find(|known| name == full_name(known))?;
            Some(scope.spawn(move || {
                let failed = |source| KernelError::Program { program: name, source };
                load(program).map_err(Box::new).map_err(failed)
            }))
        };
        let loads: Vec<_> = ebpf.programs_mut().filter_map(known).collect();
        let join = |load: thread::ScopedJoinHandle<'_, _>| load.join();
        loads
            .into_iter()
            .map(join)
            .try_for_each(|loaded| loaded.unwrap_or_else(|p| resume_unwind(p)))
    })
}

fn load(program: &mut Program) -> Result<(), ProgramError> {
    match program {
        Program::CgroupSockAddr(program) => program.load(),
        Program::CgroupSock(program) => program.load(),
        Program::SockOps(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// Attaches a loaded program. Where its link is pinned and leads to the cgroup, the program behind
/// it is replaced in one step; a link to another cgroup, or to one that was removed, is taken away
/// first: two copies at once would end each other's charges.
pub fn attach(
    ebpf: &mut Ebpf,
    name: &'static str,
    pins: &Pins,
    target: &Target<'_>,
) -> Result<(), KernelError> {
    let pin = pins.link(name);
    let held = link::read_pin(&pin).map_err(|error| target.failed(name, error))?;
    if held.is_some_and(|held| held.cgroup == target.id) {
        let fd = fd(ebpf, name).map_err(|error| target.failed(name, error))?;
        let replace = || bpf::update_link(bpf::open(&pin)?, fd);
        return replace().map_err(|error| target.failed(name, error));
    }
    link::remove(pin.clone())?;
    let link = link_to(ebpf, name, target).map_err(|error| target.failed(name, error))?;
    link.pin(&pin).map_err(|error| target.failed(name, error))?;
    Ok(())
}

/// Links are always made for several programs a hook, so that those of others go on; the kernel
/// refuses to say so explicitly where a link is used.
const MODE: CgroupAttachMode = CgroupAttachMode::Single;

fn link_to(ebpf: &mut Ebpf, name: &str, target: &Target<'_>) -> Result<FdLink, BoxError> {
    let cgroup = &target.directory;
    Ok(match program(ebpf, name) {
        Some(Program::CgroupSockAddr(program)) => {
            let id = program.attach(cgroup, MODE)?;
            program.take_link(id)?.try_into()?
        }
        Some(Program::CgroupSock(program)) => {
            let id = program.attach(cgroup, MODE)?;
            program.take_link(id)?.try_into()?
        }
        Some(Program::SockOps(program)) => {
            let id = program.attach(cgroup, MODE)?;
            program.take_link(id)?.try_into()?
        }
        _ => return Err(ProgramError::UnexpectedProgramType.into()),
    })
}

/// The descriptor of a loaded program.
pub fn fd<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a ProgramFd, ProgramError> {
    program(ebpf, name).ok_or(ProgramError::UnexpectedProgramType)?.fd()
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Option<&'a mut Program> {
    ebpf.program_mut(&full_name(name))
}

/// What a program is called in the object.
fn full_name(name: &str) -> String {
    format!("balancer_{name}")
}
