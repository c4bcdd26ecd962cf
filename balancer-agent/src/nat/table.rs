//! The rules in the kernel: put there, kept up with the backends, and put back where others remove them.

use std::io;

use super::{NatError, message::Netfilter, rules};
use crate::{desired::BackendAddr, maps::identity::Family};

/// The tables of both families.
#[derive(Debug)]
pub struct Tables {
    netfilter: Netfilter,
    /// Families whose table could be made.
    families: Vec<Family>,
    /// The number of the last change of rules that was looked at: by whom, only a look tells.
    generation: Option<Vec<u8>>,
}

impl Tables {
    /// Puts the rules in the place of those that are there, with these backends. A kernel without IPv6
    /// takes those of IPv4 alone.
    pub fn replace(backends: &[(u32, BackendAddr)]) -> Result<Self, NatError> {
        let netfilter = Netfilter::open().map_err(NatError::Socket)?;
        let replace = |family| {
            let (messages, last) = rules::replace(family, backends);
            netfilter.carry_out(&messages, last)
        };
        let failed = |source| NatError::Rules { family: "IPv4", source };
        replace(Family::V4).map_err(failed)?;
        let mut families = vec![Family::V4];
        match replace(Family::V6) {
            Ok(()) => families.push(Family::V6),
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {}
            Err(source) => return Err(NatError::Rules { family: "IPv6", source }),
        }
        let mut tables = Self { netfilter, families, generation: None };
        tables.generation = Some(tables.ask_generation()?);
        Ok(tables)
    }

    /// Adds backends, before any program may choose them.
    pub fn put(&mut self, backends: &[(u32, BackendAddr)]) -> Result<(), NatError> {
        self.change(backends, rules::put)
    }

    /// Takes backends out that no program chooses any more.
    pub fn remove(&mut self, backends: &[(u32, BackendAddr)]) -> Result<(), NatError> {
        self.change(backends, rules::remove)
    }

    fn change(
        &mut self,
        backends: &[(u32, BackendAddr)],
        messages: impl Fn(Family, &[(u32, BackendAddr)]) -> (super::message::Messages, u32),
    ) -> Result<(), NatError> {
        for family in &self.families {
            let is_of =
                |(_, backend): &&(u32, BackendAddr)| Family::of(backend.addr().ip()) == *family;
            let some: Vec<_> = backends.iter().filter(is_of).copied().collect();
            if !some.is_empty() {
                let (messages, last) = messages(*family, &some);
                self.netfilter.carry_out(&messages, last).map_err(NatError::Backends)?;
            }
        }
        Ok(())
    }

    /// True while the tables are there. What others have changed inside of them is not looked for.
    pub fn are_there(&mut self) -> Result<bool, NatError> {
        let generation = self.ask_generation()?;
        if self.generation.as_ref() == Some(&generation) {
            return Ok(true);
        }
        for family in &self.families {
            match self.netfilter.ask(&rules::ask(*family)) {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(false),
                Err(error) => return Err(NatError::Ask(error)),
            }
        }
        self.generation = Some(generation);
        Ok(true)
    }

    fn ask_generation(&self) -> Result<Vec<u8>, NatError> {
        let answer = self.netfilter.ask(&rules::ask_generation()).map_err(NatError::Ask)?;
        Ok(answer.attribute(1).unwrap_or_default().to_vec())
    }
}

/// Takes the tables of both families away; says how many there were.
pub fn delete() -> io::Result<usize> {
    let Ok(netfilter) = Netfilter::open() else { return Ok(0) };
    let mut deleted = 0;
    for family in Family::ALL {
        let (messages, last) = rules::delete(family);
        match netfilter.carry_out(&messages, last) {
            Ok(()) => deleted += 1,
            // Without nf_tables there is no table either.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ENOENT | libc::EINVAL | libc::EAFNOSUPPORT | libc::EOPNOTSUPP)
                ) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(deleted)
}
