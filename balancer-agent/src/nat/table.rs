//! The rules of one family in the kernel: put there, kept up with the backends, and looked for.

use std::{io, net::IpAddr};

use super::{NatError, entries::Entry, netfilter, rules};
use crate::{
    desired::BackendAddr,
    maps::identity::Family,
    netlink::{Messages, Netlink, find},
};

/// The table of a family. What fails leaves it in a state that is not known: it is to be replaced then,
/// by another one with another socket.
#[derive(Debug)]
pub struct Table {
    netfilter: Netlink,
    family: Family,
    /// The number of the last change of rules that was looked at: by whom, only a look tells.
    generation: Option<Vec<u8>>,
}

impl Table {
    /// Puts the rules in the place of those that are there, with these backends and ClusterIPs of the family.
    /// None where the kernel has no nf_tables for it. A table of that name that is not ours is an error.
    pub fn replace(
        family: Family,
        backends: &[(u32, BackendAddr)],
        cluster_ips: &[IpAddr],
    ) -> Result<Option<Self>, NatError> {
        let netfilter = netfilter::open().map_err(NatError::Socket)?;
        if found(&netfilter, family).map_err(NatError::Ask)? == Found::Strangers {
            return Err(NatError::Strangers { family: family.version() });
        }
        match netfilter.carry_out(&rules::replace(family, backends, cluster_ips)) {
            // Others may have changed them already: the first look tells.
            Ok(()) => Ok(Some(Self { netfilter, family, generation: None })),
            Err(error) if is_unknown_family(&error) => Ok(None),
            Err(source) => Err(NatError::Rules { family: family.version(), source }),
        }
    }

    /// Adds backends of the family, before any program may choose them, or ClusterIPs.
    pub fn put(&self, entries: &[impl Entry]) -> Result<(), NatError> {
        self.change(&rules::put(self.family, entries))
    }

    /// Takes backends out that no program chooses any more, or ClusterIPs that no Service has.
    pub fn remove(&self, entries: &[impl Entry]) -> Result<(), NatError> {
        self.change(&rules::remove(self.family, entries))
    }

    fn change(&self, messages: &Messages) -> Result<(), NatError> {
        self.netfilter.carry_out(messages).map_err(NatError::Entries)
    }

    /// True while the table is there, with all of its chains and as many rules in them. What others have
    /// changed in a rule, or in the sets, is not looked for.
    pub fn is_whole(&mut self) -> Result<bool, NatError> {
        let answer = self.netfilter.ask(&rules::ask_generation()).map_err(NatError::Ask)?;
        let generation = answer.attribute(1).map(<[u8]>::to_vec);
        if generation.is_some() && self.generation == generation {
            return Ok(true);
        }
        let answers = match self.netfilter.ask_all(&rules::ask_rules(self.family)) {
            Ok(answers) => answers,
            // Somebody changes rules right now: the next look tells.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(NatError::Ask(error)),
        };
        let mut lacking = rules::counts(self.family);
        for answer in &answers {
            let chain = answer.attribute(2).and_then(|name| str::from_utf8(name).ok());
            let chain = chain.map(|name| name.trim_end_matches('\0'));
            if let Some(lacking) = chain.and_then(|chain| lacking.get_mut(chain)) {
                *lacking = lacking.saturating_sub(1);
            }
        }
        let is_whole = lacking.values().all(|lacking| *lacking == 0);
        if is_whole {
            self.generation = generation;
        }
        Ok(is_whole)
    }
}

/// True where the kernel has nf_tables without a family (`nf_tables_newtable` in
/// `net/netfilter/nf_tables_api.c`), or is without it altogether.
fn is_unknown_family(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EAFNOSUPPORT))
}

/// Whose table of our name there is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    Ours,
    Strangers,
}

fn found(netfilter: &Netlink, family: Family) -> io::Result<Found> {
    match netfilter.ask(&rules::ask(family)) {
        Ok(_) => {}
        Err(error) if is_absent(&error) => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    }
    for (hook, priority, message) in rules::ask_bases(family) {
        let answer = match netfilter.ask(&message) {
            Ok(answer) => answer,
            Err(error) if is_absent(&error) => continue,
            Err(error) => return Err(error),
        };
        let base = answer.attribute(4).unwrap_or_default();
        let number = |kind| Some(u32::from_be_bytes(*find(base, kind)?.first_chunk()?));
        if number(1) == Some(hook) && number(2).map(u32::cast_signed) == Some(priority) {
            return Ok(Found::Ours);
        }
    }
    Ok(Found::Strangers)
}

/// No such table or chain, no such family, or no nf_tables.
fn is_absent(error: &io::Error) -> bool {
    is_unknown_family(error) || matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL))
}

/// Takes our tables of both families away, where there are any.
pub fn delete() -> Result<(), NatError> {
    let netfilter = match netfilter::open() {
        Ok(netfilter) => netfilter,
        // Without sockets for it there is no table either.
        Err(error)
            if matches!(error.raw_os_error(), Some(libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT)) =>
        {
            return Ok(());
        }
        Err(error) => return Err(NatError::Delete(error)),
    };
    for family in Family::ALL {
        if found(&netfilter, family).map_err(NatError::Ask)? != Found::Ours {
            continue;
        }
        match netfilter.carry_out(&rules::delete(family)) {
            Ok(()) => {}
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(NatError::Delete(error)),
        }
    }
    Ok(())
}

/// A table of our name that another process keeps for itself, for as long as it lives.
#[cfg(test)]
#[derive(Debug)]
pub struct Owned {
    _socket: Netlink,
}

#[cfg(test)]
impl Owned {
    /// Makes it.
    pub fn make(family: Family) -> io::Result<Self> {
        let netfilter = netfilter::open()?;
        netfilter.carry_out(&rules::own(family))?;
        Ok(Self { _socket: netfilter })
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, process::Command, thread};

    use nix::sched::{CloneFlags, unshare};

    use super::*;
    use crate::model::Protocol;

    /// In a network namespace of its own, without a table. Needs root.
    #[test]
    fn answers_to_an_earlier_message_are_passed_over() {
        let ask = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let netfilter = netfilter::open().unwrap();
            let backend =
                |id| (id, BackendAddr::new((Ipv4Addr::LOCALHOST, 80).into(), Protocol::Tcp));
            // Two messages, each of which is refused.
            let backends: Vec<_> = (1..=1001).map(backend).collect();
            let refused = netfilter.carry_out(&rules::remove(Family::V4, &backends));
            assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::ENOENT));
            let generation = netfilter.ask(&rules::ask_generation()).unwrap();
            assert!(generation.attribute(1).is_some(), "{generation:?}");
            assert!(netfilter.carry_out(&rules::replace(Family::V4, &backends, &[])).is_ok());
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
            let mut tables =
                Family::ALL.map(|family| Table::replace(family, &[], &[]).unwrap().unwrap());
            for table in &mut tables {
                assert!(table.is_whole().unwrap() && table.is_whole().unwrap());
            }
            delete().unwrap();
            for table in &mut tables {
                assert!(!table.is_whole().unwrap());
            }
        };
        thread::spawn(look).join().unwrap();
    }

    /// In a network namespace of its own. Needs root and `nft`.
    #[test]
    fn chains_and_rules_that_others_remove_are_missed() {
        let look = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let replace = || Table::replace(Family::V4, &[], &[]).unwrap().unwrap();
            let mut table = replace();
            for change in [
                "delete chain ip balancer conceal",
                "flush chain ip balancer refuse",
                "flush table ip balancer",
            ] {
                assert!(table.is_whole().unwrap(), "before {change}");
                assert!(Command::new("nft").arg(change).status().unwrap().success(), "{change}");
                assert!(!table.is_whole().unwrap() && !table.is_whole().unwrap(), "{change}");
                table = replace();
            }
            let others = "add table ip others; add rule ip balancer refuse counter";
            assert!(Command::new("nft").arg(others).status().unwrap().success());
            assert!(table.is_whole().unwrap(), "what others add lacks nothing");
        };
        thread::spawn(look).join().unwrap();
    }

    /// In a network namespace of its own. Needs root and `nft`.
    #[test]
    fn tables_of_others_with_our_name_are_left_alone() {
        let look = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let nft = |arguments: &str| {
                let output = Command::new("nft").arg(arguments).output().unwrap();
                assert!(output.status.success(), "{output:?}");
                String::from_utf8(output.stdout).unwrap()
            };
            nft("table ip balancer { chain lead { type filter hook input priority 0; }; }");
            let others = nft("list ruleset");
            delete().unwrap();
            assert_eq!(nft("list ruleset"), others);
            let refused = Table::replace(Family::V4, &[], &[]).unwrap_err().to_string();
            assert!(refused.contains("nft delete table ip balancer"), "{refused}");
            assert_eq!(nft("list ruleset"), others);
            Table::replace(Family::V6, &[], &[]).unwrap().unwrap();
            delete().unwrap();
            assert_eq!(nft("list ruleset"), others);
        };
        thread::spawn(look).join().unwrap();
    }
}
