//! Sockets that are not TCP over IPv4.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use balancer_lab::{
    Lab,
    error::{Attempt, Error, Result},
};
use nix::sys::socket::{Backlog, listen};
use socket2::{Domain, Protocol, Socket, Type};

use super::WorkerOptions;
use crate::bench::{BACKEND_PORT, job::SocketUse};

/// Uses `count` sockets, or one so often, while the first backend listens.
pub(super) fn run(
    options: &WorkerOptions,
    target: SocketAddr,
    usage: SocketUse,
    count: u32,
) -> Result<()> {
    let missing = || Error::Unmet("no backend to listen in".into());
    let pod = options.backends.first().ok_or_else(missing)?;
    let place = Lab::find(Some(&options.lab), Some(pod))?;
    let _listening = place.within(|| Listening::open(usage))??;
    match usage {
        SocketUse::Tcp6 => (0..count).try_for_each(|_| connect_and_reset(target)),
        SocketUse::UdpConnect => (0..count).try_for_each(|_| {
            sender()?.connect(target).attempt(format!("connect a UDP socket to {target}"))
        }),
        SocketUse::UdpFirst => (0..count).try_for_each(|_| send(&sender()?, target)),
        SocketUse::UdpFurther => {
            let socket = sender()?;
            (0..count).try_for_each(|_| send(&socket, target))
        }
    }
}

/// What a backend listens with: nobody reads, and the kernel drops what is too much.
enum Listening {
    Tcp(#[expect(dead_code, reason = "held for its queue")] TcpListener),
    Udp(#[expect(dead_code, reason = "held for its buffer")] UdpSocket),
}

impl Listening {
    fn open(usage: SocketUse) -> Result<Self> {
        if !matches!(usage, SocketUse::Tcp6) {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, BACKEND_PORT));
            return socket.attempt("listen for datagrams").map(Self::Udp);
        }
        let listener = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP));
        let listener = listener.attempt("socket()")?;
        // The IPv4 port is another listener's.
        listener.set_only_v6(true).attempt("keep to IPv6")?;
        listener.set_reuse_address(true).attempt("set SO_REUSEADDR")?;
        let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, BACKEND_PORT));
        listener.bind(&address.into()).attempt(format!("bind {address}"))?;
        listen(&listener, Backlog::MAXCONN).attempt("listen")?;
        Ok(Self::Tcp(listener.into()))
    }
}

fn connect_and_reset(target: SocketAddr) -> Result<()> {
    let socket =
        Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP)).attempt("socket()")?;
    socket.set_linger(Some(std::time::Duration::ZERO)).attempt("set SO_LINGER")?;
    socket.connect(&target.into()).attempt(format!("connect to {target}"))
}

fn sender() -> Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).attempt("socket()")?;
    Ok(socket.into())
}

fn send(socket: &UdpSocket, target: SocketAddr) -> Result<()> {
    socket.send_to(b"datagram", target).attempt(format!("send to {target}")).map(drop)
}
