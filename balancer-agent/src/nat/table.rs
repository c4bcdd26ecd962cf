//! The rules in the kernel: put there, kept up with the backends, and put back where others remove them.

use std::io;

use super::{
    NatError,
    message::{Messages, Netfilter},
    rules,
};
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
        let replace =
            |family| netfilter.carry_out(&rules::replace(family, &of_family(family, backends)));
        let failed = |source| NatError::Rules { family: "IPv4", source };
        replace(Family::V4).map_err(failed)?;
        let mut families = vec![Family::V4];
        match replace(Family::V6) {
            Ok(()) => families.push(Family::V6),
            Err(error) if is_unknown_family(&error) => {}
            Err(source) => return Err(NatError::Rules { family: "IPv6", source }),
        }
        // Others may have changed them already: the first look tells.
        Ok(Self { netfilter, families, generation: None })
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
        messages: impl Fn(Family, &[(u32, BackendAddr)]) -> Messages,
    ) -> Result<(), NatError> {
        for family in &self.families {
            let some = of_family(*family, backends);
            if !some.is_empty() {
                let messages = messages(*family, &some);
                self.netfilter.carry_out(&messages).map_err(NatError::Backends)?;
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

fn of_family(family: Family, backends: &[(u32, BackendAddr)]) -> Vec<(u32, BackendAddr)> {
    let is_of = |(_, backend): &&(u32, BackendAddr)| Family::of(backend.addr().ip()) == family;
    backends.iter().filter(is_of).copied().collect()
}

/// True where the kernel has nf_tables without a family (`nf_tables_newtable` in
/// `net/netfilter/nf_tables_api.c`), or is without it altogether.
fn is_unknown_family(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EAFNOSUPPORT))
}

/// Takes the tables of both families away, where there are any.
pub fn delete() -> Result<(), NatError> {
    // Without sockets for it there is no table either.
    let Ok(netfilter) = Netfilter::open() else { return Ok(()) };
    for family in Family::ALL {
        match netfilter.carry_out(&rules::delete(family)) {
            Ok(()) => {}
            Err(error) if is_unknown_family(&error) => {}
            // No such table, or no nf_tables.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL)) => {}
            Err(error) => return Err(NatError::Delete(error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, thread};

    use nix::sched::{CloneFlags, unshare};

    use super::*;
    use crate::model::Protocol;

    /// In a network namespace of its own, without a table. Needs root.
    #[test]
    fn answers_to_an_earlier_message_are_passed_over() {
        let ask = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let netfilter = Netfilter::open().unwrap();
            let backend =
                |id| (id, BackendAddr::new((Ipv4Addr::LOCALHOST, 80).into(), Protocol::Tcp));
            // Two messages, each of which is refused.
            let backends: Vec<_> = (1..=1001).map(backend).collect();
            let refused = netfilter.carry_out(&rules::remove(Family::V4, &backends));
            assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::ENOENT));
            let generation = netfilter.ask(&rules::ask_generation()).unwrap();
            assert!(generation.attribute(1).is_some(), "{generation:?}");
            assert!(netfilter.carry_out(&rules::replace(Family::V4, &backends)).is_ok());
            assert!(netfilter.carry_out(&rules::delete(Family::V4)).is_ok());
        };
        thread::spawn(ask).join().unwrap();
    }

    /// In a network namespace of its own. Needs root.
    #[test]
    fn tables_that_others_remove_are_missed() {
        let look = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            // There is none to take away.
            delete().unwrap();
            let mut tables = Tables::replace(&[]).unwrap();
            assert!(tables.are_there().unwrap() && tables.are_there().unwrap());
            delete().unwrap();
            assert!(!tables.are_there().unwrap());
        };
        thread::spawn(look).join().unwrap();
    }
}
