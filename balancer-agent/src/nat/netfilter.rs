//! Sockets and headers of nfnetlink (`linux/netfilter/nfnetlink.h`).

use std::io;

use netlink_sys::protocols::NETLINK_NETFILTER;

use crate::netlink::Netlink;

/// Room for everything that is sent at once.
const ROOM: usize = 32 << 20;

/// Opens a socket.
pub fn open() -> io::Result<Netlink> {
    let netlink = Netlink::open(NETLINK_NETFILTER, size_of_val(&header(0, 0)))?;
    netlink.make_room(ROOM)?;
    Ok(netlink)
}

/// The header of a message (`nfgenmsg`): a family, and what the message is about.
pub const fn header(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}
