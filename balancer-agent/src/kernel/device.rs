//! One program on one side of a device: behind a pinned link (tcx, Linux 6.6), or where the kernel refuses
//! that, in a filter of `clsact`, for which the pin of the program itself stands.
#![allow(unsafe_code, reason = "a union of the kernel's is read")]

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use aya_obj::generated::{bpf_attach_type, bpf_link_info};

use super::{KernelError, clsact, link, pin};
use crate::bpf;

/// Where a program is attached, or is to be.
#[derive(Debug)]
pub struct Spot<'a> {
    name: &'a str,
    side: bpf_attach_type,
    device: u32,
    pin: PathBuf,
}

/// What is pinned for it.
enum Held {
    Nothing,
    Link(OwnedFd),
    Filter,
}

impl<'a> Spot<'a> {
    /// One side of a device; the pin is in the folder of the links, under the name of the program.
    pub fn new(links: &Path, name: &'a str, side: bpf_attach_type, device: u32) -> Self {
        Self { name, side, device, pin: links.join(format!("{name}_{device}")) }
    }

    /// Attaches the program, or puts it in the place of the one that is there, in one step.
    pub fn attach(&self, program: impl AsFd) -> io::Result<()> {
        let program = program.as_fd();
        match self.held()? {
            Held::Link(link) => {
                // A link of a device that is gone leads nowhere, and its number may be another one's.
                if device_of(&bpf::link_info(&link)?) == self.device {
                    return bpf::update_link(&link, program);
                }
                fs::remove_file(&self.pin)?;
            }
            // What was attached so once stays so: both ways at once would count twice.
            Held::Filter if clsact::program(self.device, self.side)?.is_some() => {
                return clsact::attach(program, self.name, self.device, self.side);
            }
            Held::Filter => fs::remove_file(&self.pin)?,
            Held::Nothing => {}
        }
        match bpf::link_to_device(program, self.device, self.side) {
            Ok(link) => bpf::pin(link, &self.pin),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Err(error),
            Err(refused) => {
                clsact::attach(program, self.name, self.device, self.side).map_err(|error| {
                    io::Error::new(error.kind(), format!("{error} (clsact), {refused} (tcx)"))
                })?;
                bpf::pin(program, &self.pin)
            }
        }
    }

    /// The kernel's identifier of the program that is attached; none where there is none.
    pub fn program(&self) -> io::Result<Option<u32>> {
        match self.held()? {
            Held::Nothing => Ok(None),
            Held::Link(link) => {
                let info = bpf::link_info(link)?;
                Ok((device_of(&info) == self.device).then_some(info.prog_id))
            }
            Held::Filter => clsact::program(self.device, self.side),
        }
    }

    /// Takes the program off and its pin away; false where there was no pin.
    pub fn detach(self) -> Result<bool, KernelError> {
        let failed = |source| KernelError::Pin { path: self.pin.clone(), source };
        if let Held::Filter = self.held().map_err(failed)? {
            clsact::detach(self.device, self.side).map_err(failed)?;
            return pin::remove(self.pin);
        }
        link::remove(self.pin)
    }

    fn held(&self) -> io::Result<Held> {
        let object = match bpf::open(&self.pin) {
            Ok(object) => object,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Held::Nothing),
            Err(error) => return Err(error),
        };
        // Both kinds of objects answer to the same calls.
        let kind = fs::read_link(format!("/proc/self/fd/{}", object.as_raw_fd()))?;
        Ok(match kind.to_string_lossy().contains("bpf-prog") {
            true => Held::Filter,
            false => Held::Link(object),
        })
    }
}

/// The device of a link; 0 where it is gone, or the program was taken off.
fn device_of(info: &bpf_link_info) -> u32 {
    // SAFETY: these links are of type tcx, whose member of the union this is; as integers, the bytes
    // are valid in any case.
    unsafe { info.__bindgen_anon_1.tcx.ifindex }
}
