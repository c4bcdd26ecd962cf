//! `balancer-lab udp`

use std::{
    io::{self, BufRead as _, Write as _},
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use balancer_lab::sockets;
use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};

/// One UDP socket that does what the lines of its input say, and answers each with a line of JSON
///
/// `connect ADDRESS`, `disconnect`, `peer`; `send TEXT` and `sendto ADDRESS TEXT`, which also wait
/// for an answer and say whom it seems to come from; `post ADDRESS TEXT`, which does not wait; `recv`,
/// which waits only; `flood N ADDRESS...`, by N more sockets, one after another, a datagram to each
/// address. Ends with its input.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  printf 'sendto 10.96.0.10:53 hello\\n' | balancer-lab udp
  balancer-lab udp --serve web-1 10.244.0.1:53")]
pub(super) struct Arguments {
    /// Use an IPv6 socket, which reaches IPv4 through mapped addresses
    #[arg(long)]
    ipv6: bool,
    /// Wait so many milliseconds for an answer
    #[arg(long, default_value_t = 2000)]
    timeout_ms: u64,
    /// Instead, answer every datagram to the given addresses with this name
    #[arg(long, value_name = "NAME", requires = "addresses")]
    serve: Option<String>,
    /// Where to serve
    addresses: Vec<SocketAddr>,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    if let Some(name) = &arguments.serve {
        return serve(name, &arguments.addresses);
    }
    let domain = if arguments.ipv6 { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if arguments.ipv6 {
        socket.set_only_v6(false)?;
    }
    let socket = UdpSocket::from(socket);
    socket.set_read_timeout(Some(Duration::from_millis(arguments.timeout_ms)))?;
    for line in io::stdin().lock().lines() {
        let answer = match obey(&socket, &line?) {
            Ok(answer) => answer,
            Err(error) => {
                let code = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
                json!({"error": format!("{error:#}"), "errno": code})
            }
        };
        println!("{answer}");
        io::stdout().flush()?;
    }
    Ok(())
}

fn obey(socket: &UdpSocket, line: &str) -> Result<Value> {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    match verb {
        "connect" => socket.connect(address(rest)?)?,
        "disconnect" => sockets::disconnect(socket)?,
        "peer" => return Ok(json!({"peer": socket.peer_addr()?})),
        "recv" => return receive(socket),
        "send" => {
            socket.send(rest.as_bytes())?;
            return receive(socket);
        }
        "sendto" => {
            let (to, text) = rest.split_once(' ').context("sendto ADDRESS TEXT")?;
            socket.send_to(text.as_bytes(), address(to)?)?;
            return receive(socket);
        }
        "post" => {
            let (to, text) = rest.split_once(' ').context("post ADDRESS TEXT")?;
            socket.send_to(text.as_bytes(), address(to)?)?;
        }
        "flood" => return flood(rest),
        _ => bail!("{verb:?} is no verb; see balancer-lab udp --help"),
    }
    Ok(json!({"ok": true}))
}

fn flood(rest: &str) -> Result<Value> {
    let (sockets, to) = rest.split_once(' ').context("flood N ADDRESS...")?;
    let to = to.split(' ').map(address).collect::<Result<Vec<_>>>()?;
    let mut sent = 0;
    for _ in 0..sockets.parse::<u32>().context("a number of sockets")? {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        for to in &to {
            socket.send_to(b"x", to)?;
            sent += 1;
        }
    }
    Ok(json!({"sent": sent}))
}

fn address(text: &str) -> Result<SocketAddr> {
    text.parse().with_context(|| format!("{text:?} is no address with a port"))
}

fn receive(socket: &UdpSocket) -> Result<Value> {
    let mut buffer = [0; 2048];
    let (len, from) = socket.recv_from(&mut buffer)?;
    Ok(json!({"from": from, "text": String::from_utf8_lossy(&buffer[..len])}))
}

/// Answers until it is killed.
fn serve(name: &str, addresses: &[SocketAddr]) -> Result<()> {
    let serve_one = |address: &SocketAddr| -> Result<()> {
        let socket = UdpSocket::bind(address).with_context(|| format!("bind {address}"))?;
        println!("{address}");
        let mut buffer = [0; 2048];
        loop {
            let (_, from) = socket.recv_from(&mut buffer)?;
            socket.send_to(name.as_bytes(), from)?;
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            addresses.iter().map(|address| scope.spawn(move || serve_one(address))).collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}
