//! The programs for connections from outside, on the devices that lead out of the node, each through a
//! pinned link (tcx, Linux 6.6) that keeps it there without any process.
#![allow(unsafe_code, reason = "a union of the kernel's is read")]

use std::{
    collections::BTreeSet,
    fs, io,
    os::fd::{AsFd as _, OwnedFd},
};

use aya::{Ebpf, programs::Program};
use aya_obj::generated::bpf_attach_type::{self, BPF_TCX_EGRESS, BPF_TCX_INGRESS};

use super::{KernelError, link};
use crate::{bpf, maps::pins::Pins};

/// What the names of the pins of their links begin with; the index of the device follows.
pub const LINKS: &str = "outside_";

/// Each program, and where it is attached on a device.
pub const PROGRAMS: [(&str, bpf_attach_type); 2] =
    [("outside_out", BPF_TCX_EGRESS), ("outside_in", BPF_TCX_INGRESS)];

/// The programs, loaded.
#[derive(Debug)]
pub struct OutsidePrograms {
    /// What sees ends before what begins connections.
    programs: Vec<(&'static str, bpf_attach_type, OwnedFd)>,
    pins: Pins,
}

impl OutsidePrograms {
    /// Has the kernel verify them.
    pub(super) fn load(ebpf: &mut Ebpf, pins: Pins) -> Result<Self, KernelError> {
        let mut programs = Vec::new();
        for (name, hook) in PROGRAMS {
            let refused = |source: aya::programs::ProgramError| KernelError::Program {
                program: name,
                source: source.into(),
            };
            let program = ebpf.program_mut(&format!("balancer_{name}"));
            let Some(Program::SchedClassifier(program)) = program else {
                return Err(refused(aya::programs::ProgramError::UnexpectedProgramType));
            };
            program.load().map_err(refused)?;
            let fd = program.fd().map_err(refused)?.as_fd().try_clone_to_owned();
            let fd = fd.map_err(|source| KernelError::Pin { path: pins.link(name), source })?;
            programs.push((name, hook, fd));
        }
        Ok(Self { programs, pins })
    }

    /// Attaches the programs to a device, or replaces those that are there in one step.
    pub fn attach(&self, device: u32) -> io::Result<()> {
        for (name, hook, program) in &self.programs {
            let pin = self.pins.link(&format!("{name}_{device}"));
            if let Ok(link) = bpf::open(&pin) {
                // A link of a device that is gone leads nowhere, and its number may be another one's.
                if device_of(&link)? == device {
                    bpf::update_link(&link, program)?;
                    continue;
                }
                fs::remove_file(&pin)?;
            }
            bpf::pin(bpf::link_to_device(program, device, *hook)?, &pin)?;
        }
        Ok(())
    }

    /// True while both programs are on a device.
    pub fn are_on(&self, device: u32) -> bool {
        self.programs.iter().all(|(name, ..)| {
            let link = bpf::open(&self.pins.link(&format!("{name}_{device}")));
            link.and_then(|link| device_of(&link)).is_ok_and(|found| found == device)
        })
    }

    /// Devices with pins of ours.
    pub fn devices(&self) -> io::Result<BTreeSet<u32>> {
        devices(&self.pins)
    }

    /// Takes the programs off a device.
    pub fn detach(&self, device: u32) -> Result<(), KernelError> {
        // No connection begins that nobody would see the end of.
        for (name, ..) in self.programs.iter().rev() {
            link::remove(self.pins.link(&format!("{name}_{device}")))?;
        }
        Ok(())
    }
}

/// Devices that the programs are pinned for, by their numbers.
pub fn devices(pins: &Pins) -> io::Result<BTreeSet<u32>> {
    let mut devices = BTreeSet::new();
    for entry in fs::read_dir(pins.folder().join("links"))? {
        let name = entry?.file_name();
        let of = name.to_str().filter(|name| name.starts_with(LINKS));
        devices.extend(of.and_then(|name| name.rsplit('_').next()?.parse::<u32>().ok()));
    }
    Ok(devices)
}

fn device_of(link: &OwnedFd) -> io::Result<u32> {
    let info = bpf::link_info(link)?;
    // SAFETY: these links are of type tcx, whose member of the union this is; as integers, the bytes
    // are valid in any case.
    Ok(unsafe { info.__bindgen_anon_1.tcx.ifindex })
}
