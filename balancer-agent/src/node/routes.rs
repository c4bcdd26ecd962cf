//! The devices of default routes, asked over rtnetlink(7): `/proc/net/route` names only the first device of a
//! route that has several.

use std::{collections::BTreeSet, io, os::fd::AsRawFd as _};

use netlink_packet_core::NLM_F_DUMP;
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, recv},
};

use crate::netlink::{Answer, Attributes, Messages, Netlink};

/// RTM_GETROUTE.
const GET: u16 = 26;
/// Bytes of a `rtmsg` and a `rtnexthop`.
const ROUTE: usize = 12;
const NEXT_HOP: usize = 8;
/// RTN_UNICAST: the others lead to the node itself or nowhere.
const UNICAST: u8 = 1;
/// RTA_OIF and RTA_MULTIPATH.
const DEVICE: u16 = 4;
const SEVERAL: u16 = 9;

/// Where the kernel tells of what routes come and go with: RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR,
/// RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV6_ROUTE and RTNLGRP_NEXTHOP. Routes of IPv4 that go with
/// a device, an address or a next hop are not told of themselves.
const GROUPS: [u32; 6] = [1, 5, 7, 9, 11, 32];

/// How often they are asked for where they change meanwhile.
const TRIES: usize = 5;

/// The devices with a default route, which are asked for only where something has changed: the kernel can't
/// be asked for default routes alone, and a node may have a million others.
#[derive(Default)]
pub struct DefaultDevices {
    /// What the kernel tells; none before the first look, and after an error.
    news: Option<Socket>,
    found: BTreeSet<u32>,
}

impl DefaultDevices {
    /// Their numbers now. After an error all is asked for at the next call.
    pub fn look(&mut self) -> io::Result<&BTreeSet<u32>> {
        let news = match self.news.take() {
            Some(news) if !has_changed(&news) => news,
            // What changes while they are asked for is told after it.
            news => {
                let news = news.map_or_else(subscribe, Ok)?;
                self.found = default_devices()?;
                news
            }
        };
        self.news = Some(news);
        Ok(&self.found)
    }
}

fn subscribe() -> io::Result<Socket> {
    let mut news = Socket::new(NETLINK_ROUTE)?;
    news.bind_auto()?;
    GROUPS.into_iter().try_for_each(|group| news.add_membership(group))?;
    Ok(news)
}

/// True if something was told since the last call. All of it is read.
fn has_changed(news: &Socket) -> bool {
    let mut changed = false;
    loop {
        // A message that is longer is cut off.
        match recv(news.as_raw_fd(), &mut [0; 64], MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EAGAIN) => return changed,
            // More was told than there is room for (ENOBUFS).
            Ok(_) | Err(Errno::ENOBUFS | Errno::EINTR) => changed = true,
            // It is not known.
            Err(_) => return true,
        }
    }
}

/// The numbers of the devices with a default route of either family, in any table of routes.
pub fn default_devices() -> io::Result<BTreeSet<u32>> {
    for _ in 1..TRIES {
        match ask() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            answer => return answer,
        }
    }
    ask()
}

fn ask() -> io::Result<BTreeSet<u32>> {
    let netlink = Netlink::open(NETLINK_ROUTE, ROUTE)?;
    let mut found = BTreeSet::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let mut header = [0; ROUTE];
        header[0] = family as u8;
        let mut messages = Messages::default();
        messages.push(GET, NLM_F_DUMP, &header, &Attributes::default());
        found.extend(netlink.ask_all(&messages)?.iter().flat_map(devices));
    }
    Ok(found)
}

/// The devices of a route, where it is a default route.
fn devices(answer: &Answer) -> Vec<u32> {
    // The bits of the destination, and the kind of the route.
    let (bits, kind) = (answer.header.get(1), answer.header.get(7));
    if bits != Some(&0) || kind != Some(&UNICAST) {
        return Vec::new();
    }
    let mut found = Vec::new();
    found.extend(answer.attribute(DEVICE).map(|at| word(at, 0)));
    let mut hops = answer.attribute(SEVERAL).unwrap_or_default();
    while let Some(hop) = hops.first_chunk::<NEXT_HOP>() {
        found.push(word(hop, 4));
        let length = usize::from(u16::from_ne_bytes([hop[0], hop[1]])).max(NEXT_HOP);
        hops = hops.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// A number of 4 bytes, in the byte order of the host; 0 where there is none.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u32::from_ne_bytes(*word))
}

#[cfg(test)]
mod tests {
    use std::{process::Command, thread};

    use nix::{
        net::if_::if_nametoindex,
        sched::{CloneFlags, unshare},
    };

    use super::*;

    fn ip(arguments: &str) {
        let status = Command::new("ip").args(arguments.split(' ')).status();
        assert!(status.unwrap().success(), "{arguments}");
    }

    /// In a network namespace of its own. Needs root and iproute2.
    #[test]
    fn default_routes_are_asked_for_again_once_they_may_have_changed() {
        let look = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let mut watched = DefaultDevices::default();
            assert_eq!(watched.look().unwrap(), &BTreeSet::new());
            ip("link add up0 type veth peer name peer0");
            ip("link set peer0 up");
            let up0 = BTreeSet::from([if_nametoindex("up0").unwrap()]);
            for (change, then) in [
                ("link set up0 up", BTreeSet::new()),
                ("addr add 192.0.2.1/24 dev up0", BTreeSet::new()),
                ("route add default via 192.0.2.2 dev up0", up0.clone()),
                // The route goes without a word of its own.
                ("link set up0 down", BTreeSet::new()),
                ("link set up0 up", BTreeSet::new()),
                ("-6 route add default dev up0", up0.clone()),
                ("-6 route del default dev up0", BTreeSet::new()),
                ("nexthop add id 7 via 192.0.2.2 dev up0", BTreeSet::new()),
                ("route add default nhid 7", up0.clone()),
                ("nexthop del id 7", BTreeSet::new()),
                ("route add default via 192.0.2.2 dev up0 src 192.0.2.1", up0.clone()),
                ("addr del 192.0.2.1/24 dev up0", BTreeSet::new()),
            ] {
                ip(change);
                assert_eq!(watched.look().unwrap(), &then, "after {change}");
            }
            // Of IPv6 something may still come, such as a router that is asked for.
            ip("link set up0 down");
            watched.look().unwrap();
            assert!(!has_changed(watched.news.as_ref().unwrap()), "nothing has happened since");
        };
        thread::spawn(look).join().unwrap();
    }

    /// In a network namespace of its own. Needs root and iproute2.
    #[test]
    fn every_device_of_a_default_route_is_found() {
        let look = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            assert_eq!(default_devices().unwrap(), BTreeSet::new());
            for (number, name) in (0..).zip(["up0", "up1", "up2", "up3", "up4"]) {
                ip(&format!("link add {name} type veth peer name peer{number}"));
                ip(&format!("addr add 192.0.{number}.1/24 dev {name}"));
                ip(&format!("addr add fd00:{number}::1/64 dev {name} nodad"));
                ip(&format!("link set {name} up"));
                ip(&format!("link set peer{number} up"));
            }
            ip("route add default nexthop via 192.0.0.2 dev up0 nexthop via 192.0.1.2 dev up1");
            ip("route add default via 192.0.2.2 dev up2 table 100");
            ip("-6 route add default via fd00:3::2 dev up3");
            ip("route add 198.51.100.0/24 via 192.0.4.2 dev up4");
            ip("route add unreachable default metric 4000");
            let wanted = ["up0", "up1", "up2", "up3"].map(|name| if_nametoindex(name).unwrap());
            assert_eq!(default_devices().unwrap(), BTreeSet::from(wanted));
        };
        thread::spawn(look).join().unwrap();
    }
}
