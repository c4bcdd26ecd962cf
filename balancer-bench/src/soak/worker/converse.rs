//! Datagrams that are answered: each answer must seem to come from the Service that was asked.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use balancer_lab::error::{Attempt, Result};

use crate::soak::{
    life::{Family, Target, Transport},
    wire::{Report, address},
};

/// How long an answer is awaited.
const PATIENCE: Duration = Duration::from_millis(500);
/// Two Services with the same backends, on ports of their own. The first is in the charge of the socket,
/// the other beside it.
const ASKED: [Target; 2] = [Target::Answer, Target::Echo];

/// Asks both Services, twice each, over a new socket that is closed then.
pub fn converse(family: Family, report: &mut Report) -> Result<Option<String>> {
    let any: SocketAddr = match family {
        Family::V4 => (Ipv4Addr::UNSPECIFIED, 0).into(),
        Family::V6 | Family::Mapped => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).attempt("open a socket")?;
    socket.set_read_timeout(Some(PATIENCE)).attempt("set SO_RCVTIMEO")?;
    let asked = ASKED.map(|target| address(target, Transport::Udp, family));
    for turn in 0..2_u8 {
        for (number, to) in (0_u8..).zip(asked) {
            // No room in a queue: it is lost, as UDP may be.
            let _ = socket.send_to(&[turn, number], to);
        }
        for _ in asked {
            let Some((text, from)) = answer(&socket).attempt("read an answer")? else {
                report.unanswered += 1;
                continue;
            };
            report.answers += 1;
            let right = text.get(1).and_then(|number| asked.get(usize::from(*number)));
            if Some(&from) != right {
                return Ok(Some(format!("an answer of {right:?} seems to come from {from:?}")));
            }
        }
    }
    Ok(None)
}

/// The next answer and whom it seems to come from; none where none comes.
fn answer(socket: &UdpSocket) -> io::Result<Option<(Vec<u8>, SocketAddr)>> {
    let mut text = [0; 16];
    match socket.recv_from(&mut text) {
        Ok((length, from)) => Ok(Some((text[..length].to_vec(), from))),
        Err(error) if is_lost(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// True where nothing comes: in time, or because the backend is not there.
fn is_lost(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut, WouldBlock,
    };
    matches!(
        error.kind(),
        ConnectionRefused | HostUnreachable | NetworkUnreachable | TimedOut | WouldBlock
    )
}
