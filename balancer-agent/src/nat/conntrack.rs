//! Whether connection tracking still knows a connection (`linux/netfilter/nfnetlink_conntrack.h`).

use balancer_common::layout::{OutsideKey, TCP, is_mapped, mapped};
use zerocopy::IntoBytes as _;

use super::{
    NatError,
    netfilter::{self, header},
};
use crate::netlink::{Attributes, Messages, Netlink, find};

/// NFNL_SUBSYS_CTNETLINK and IPCTNL_MSG_CT_GET.
const GET: u16 = 1 << 8 | 1;
/// The same with IPCTNL_MSG_CT_DELETE.
const DELETE: u16 = 1 << 8 | 2;
/// CTA_TUPLE_ORIG: as the client sees the connection.
const ORIGINAL: u16 = 1;
/// CTA_PROTOINFO, and in it CTA_PROTOINFO_TCP and CTA_PROTOINFO_TCP_STATE.
const PROTOCOL_INFO: u16 = 4;
/// TCP_CONNTRACK_TIME_WAIT and TCP_CONNTRACK_CLOSE.
const ENDED: [u8; 2] = [7, 8];

/// What asks connection tracking.
#[derive(Debug)]
pub struct Conntrack(Netlink);

impl Conntrack {
    /// Opens a socket for it.
    pub fn open() -> Result<Self, NatError> {
        netfilter::open().map(Self).map_err(NatError::Conntrack)
    }

    /// Whether it can be asked: for a connection that nobody has.
    pub fn probe() -> Result<(), NatError> {
        let key = OutsideKey {
            client: mapped(0),
            service: mapped(0),
            client_port: 0,
            service_port: 0,
            protocol: TCP,
            zero: [0; 3],
        };
        Self::open()?.has(&key).map(drop)
    }

    /// True while a connection is tracked and has not ended.
    pub fn has(&self, key: &OutsideKey) -> Result<bool, NatError> {
        match self.0.ask(&request(GET, key)) {
            Ok(answer) => {
                let tcp = answer.attribute(PROTOCOL_INFO).and_then(|info| find(info, 1));
                let state = tcp.and_then(|tcp| find(tcp, 1)).and_then(|state| state.first());
                Ok(state.is_none_or(|state| !ENDED.contains(state)))
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(NatError::Conntrack(error)),
        }
    }

    /// Has it forget a connection, whose next packet is then one of a new connection.
    pub fn forget(&self, key: &OutsideKey) -> Result<(), NatError> {
        let mut message = request(DELETE, key);
        message.acknowledge();
        match self.0.carry_out(&message) {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => {
                Err(NatError::Conntrack(error))
            }
            _ => Ok(()),
        }
    }
}

fn request(kind: u16, key: &OutsideKey) -> Messages {
    let ipv4 = is_mapped(key.service);
    let [client, service] = [&key.client, &key.service].map(|address| {
        let bytes = address.as_bytes();
        if ipv4 { &bytes[12..] } else { bytes }
    });
    let (source, destination) = if ipv4 { (1, 2) } else { (3, 4) };
    let mut attributes = Attributes::default();
    attributes.nested(ORIGINAL, |tuple| {
        tuple.nested(1, |ip| {
            ip.bytes(source, client).bytes(destination, service);
        });
        tuple.nested(2, |protocol| {
            protocol.bytes(1, &[key.protocol]);
            protocol.bytes(2, key.client_port.as_bytes());
            protocol.bytes(3, key.service_port.as_bytes());
        });
    });
    let mut message = Messages::default();
    message.push(kind, 0, &header(if ipv4 { 2 } else { 10 }, 0), &attributes);
    message
}
