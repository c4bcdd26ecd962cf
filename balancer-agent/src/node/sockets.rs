//! Sockets of other processes, found and ended through sock_diag(7).
//!
//! `SOCK_DESTROY` (Linux 4.5, CONFIG_INET_DIAG_DESTROY) disconnects a UDP socket, resets a TCP
//! connection, and has the program read ECONNABORTED, at once where it waits.

pub mod tcp;
pub mod udp;

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::{
    AF_INET, IPPROTO_TCP, IPPROTO_UDP, SOCK_DESTROY, SockDiagMessage,
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags},
};
use netlink_sys::{Socket, protocols::NETLINK_SOCK_DIAG};

/// Whether the kernel can end sockets: asked to end one that is none, it says so.
pub fn can_end() -> io::Result<bool> {
    let nobody = SocketId { cookie: u64::MAX.to_ne_bytes(), ..SocketId::new_v4() };
    match Netlink::open()?.destroy(request(AF_INET, IPPROTO_UDP, nobody, NLM_F_ACK)) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(false),
        Err(error) => Err(error),
    }
}

#[derive(Debug)]
struct Netlink {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Netlink {
    fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
        socket.bind_auto()?;
        socket.connect(&netlink_sys::SocketAddr::new(0, 0))?;
        Ok(Self { socket, buffer: Vec::new() })
    }

    /// Everything that a request lists; `alive` is called for each part of that.
    fn dump(
        &mut self,
        request: &[u8],
        mut each: impl FnMut(InetResponse),
        alive: impl Fn(),
    ) -> io::Result<()> {
        self.send(request)?;
        loop {
            alive();
            for message in self.receive()? {
                match message {
                    NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                        each(*response);
                    }
                    NetlinkPayload::Done(_) => return Ok(()),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    _ => {}
                }
            }
        }
    }

    /// The one socket that a request names; none if it is gone.
    fn get(&mut self, request: &[u8]) -> io::Result<Option<InetResponse>> {
        self.send(request)?;
        for message in self.receive()? {
            match message {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                    return Ok(Some(*response));
                }
                NetlinkPayload::Error(error) => {
                    let code = error.code.map(|code| -code.get());
                    // ESTALE: the socket there has another cookie.
                    if matches!(code, Some(libc::ENOENT | libc::ESTALE)) {
                        return Ok(None);
                    }
                    return Err(error.to_io());
                }
                _ => {}
            }
        }
        Err(io::Error::other("the kernel did not say whether the socket is there"))
    }

    /// Ends the socket that a request names; false if it was gone already.
    fn destroy(&mut self, mut bytes: Vec<u8>) -> io::Result<bool> {
        // The crate knows the request by its other number alone. Netlink is host byte order.
        bytes[4..6].copy_from_slice(&SOCK_DESTROY.to_ne_bytes());
        self.send(&bytes)?;
        for message in self.receive()? {
            if let NetlinkPayload::Error(error) = message {
                return match error.code {
                    None => Ok(true),
                    Some(code) if matches!(-code.get(), libc::ENOENT | libc::ESTALE) => Ok(false),
                    Some(_) => Err(error.to_io()),
                };
            }
        }
        Err(io::Error::other("the kernel did not say whether it ended the socket"))
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.socket.send(bytes, 0).map(drop)
    }

    fn receive(&mut self) -> io::Result<Vec<NetlinkPayload<SockDiagMessage>>> {
        self.buffer.clear();
        let (bytes, _) = self.socket.recv_from_full()?;
        self.buffer = bytes;
        let mut messages = Vec::new();
        let mut rest = self.buffer.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            // Messages begin at multiples of 4 bytes.
            let length = (message.header.length as usize).next_multiple_of(4).min(rest.len());
            rest = &rest[length.max(1)..];
            messages.push(message.payload);
        }
        Ok(messages)
    }
}

fn request(family: u8, protocol: u8, socket_id: SocketId, flags: u16) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    let request = InetRequest {
        family,
        protocol,
        extensions: if protocol == IPPROTO_TCP {
            ExtensionFlags::INFO
        } else {
            ExtensionFlags::empty()
        },
        states: StateFlags::ESTABLISHED,
        socket_id,
    };
    let mut message =
        NetlinkMessage::new(header, NetlinkPayload::from(SockDiagMessage::InetRequest(request)));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Needs root.
    #[test]
    fn a_kernel_that_ends_sockets_says_so() {
        assert!(can_end().unwrap());
    }
}
