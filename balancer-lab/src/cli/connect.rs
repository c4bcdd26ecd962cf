//! `balancer-lab connect`

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Barrier,
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use balancer_lab::{hold_lock::Pages, main_thread};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};

/// How long a close lingers at most.
const LINGER: Duration = Duration::from_secs(600);

/// Connect, say as JSON whom the program believes to speak to, and hold until the input ends
///
/// A line for each connection. A socket whose connection failed is held, too.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  balancer-lab connect 10.96.0.10:80 </dev/null")]
pub(super) struct Arguments {
    /// Where to connect to
    target: SocketAddr,
    /// Give up after so many milliseconds
    #[arg(long, default_value_t = 2000)]
    timeout_ms: u64,
    /// Try again until it is connected
    #[arg(long)]
    insist: bool,
    /// Bind each socket to this address first
    #[arg(long)]
    from: Option<IpAddr>,
    /// Use Multipath TCP
    #[arg(long)]
    mptcp: bool,
    /// Open so many connections
    #[arg(long, default_value_t = 1)]
    count: usize,
    /// Open all at the same time, each from a thread of its own, and not one after another
    #[arg(long)]
    at_once: bool,
    /// Close each connection before the next one is opened, and hold none
    #[arg(long, conflicts_with = "at_once")]
    one_by_one: bool,
    /// Hold the locks of the sockets, too: nobody can look at them or end them. When the input ends,
    /// close them, lingering, and let go only then
    #[arg(long, conflicts_with = "many")]
    hold_locks: bool,
    /// When the input ends, send over each until no more fits, close them, lingering, and say so: to be
    /// used where nobody reads, and somebody has copies
    #[arg(long, conflicts_with_all = ["many", "hold_locks"])]
    linger: bool,
    /// End the main thread, and hold the connections by another one
    #[arg(long, conflicts_with_all = ["many", "hold_locks", "linger"])]
    without_main_thread: bool,
    /// Connect as fast as it goes, and say only how many were connected and how long it took
    #[arg(long, conflicts_with_all = ["at_once", "one_by_one", "insist", "mptcp", "from", "timeout_ms"])]
    many: bool,
    /// Connect UDP sockets
    #[arg(long, conflicts_with = "mptcp")]
    udp: bool,
    /// With --many: send a line over each, and await no answer
    #[arg(long, requires = "many")]
    ask: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.many {
        return many(arguments);
    }
    if arguments.one_by_one {
        for _ in 0..arguments.count {
            println!("{}", connect(arguments)?.1);
        }
        return Ok(());
    }
    let one_by_one = || (0..arguments.count).map(|_| connect(arguments)).collect();
    let held: Vec<(Socket, Value)> =
        if arguments.at_once { at_once(arguments) } else { one_by_one() }?;
    let mut pages: Option<&'static Pages> = None;
    if arguments.hold_locks {
        let absent = pages.insert(Box::leak(Box::new(Pages::new(held.len())?)));
        for (index, (socket, _)) in held.iter().enumerate() {
            socket.set_linger(Some(LINGER))?;
            absent.send(socket, index)?;
        }
    }
    for (_, said) in &held {
        println!("{said}");
    }
    if arguments.without_main_thread {
        thread::spawn(move || {
            let _held = held;
            // Ends the process, whatever the input says.
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            std::process::exit(0)
        });
        main_thread::end();
    }
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    if arguments.linger {
        return linger(held);
    }
    if let Some(pages) = pages {
        // Whoever has copies of them is the last to close them.
        drop(held);
        pages.let_go()?;
    }
    Ok(())
}

/// Whoever has copies of the sockets is the last to close them, and waits as their options say.
fn linger(held: Vec<(Socket, Value)>) -> Result<()> {
    let bytes = vec![0; 1 << 20];
    for (socket, _) in &held {
        socket.set_linger(Some(LINGER))?;
        socket.set_nonblocking(true)?;
        loop {
            match socket.send(&bytes) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("fill the connection"),
            }
        }
    }
    drop(held);
    println!("{}", json!({"closed": true}));
    Ok(())
}

fn many(arguments: &Arguments) -> Result<()> {
    allow_many_descriptors()?;
    let (form, protocol) = kind(arguments);
    let (domain, target) = (Domain::for_address(arguments.target), arguments.target.into());
    let started = Instant::now();
    let mut held = Vec::new();
    for _ in 0..arguments.count {
        let socket = Socket::new(domain, form, Some(protocol))?;
        socket.connect(&target).with_context(|| format!("connection {}", held.len()))?;
        if arguments.ask {
            socket.send(b"hello\n").with_context(|| format!("connection {}", held.len()))?;
        }
        held.push(socket);
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{}", json!({"connected": held.len(), "seconds": seconds}));
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    Ok(())
}

const fn kind(arguments: &Arguments) -> (Type, Protocol) {
    match (arguments.udp, arguments.mptcp) {
        (true, _) => (Type::DGRAM, Protocol::UDP),
        (false, true) => (Type::STREAM, Protocol::MPTCP),
        (false, false) => (Type::STREAM, Protocol::TCP),
    }
}

fn allow_many_descriptors() -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("raise RLIMIT_NOFILE")
}

fn at_once(arguments: &Arguments) -> Result<Vec<(Socket, Value)>> {
    let barrier = Barrier::new(arguments.count);
    let one = || {
        barrier.wait();
        connect(arguments)
    };
    let join = |thread: ScopedJoinHandle<'_, Result<_>>| match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..arguments.count).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(join).collect()
    })
}

fn connect(arguments: &Arguments) -> Result<(Socket, Value)> {
    loop {
        let (socket, mut said) = try_once(arguments)?;
        if !arguments.insist {
            return Ok((socket, said));
        }
        if said["error"].is_null() {
            let at = SystemTime::now().duration_since(UNIX_EPOCH)?;
            said["at_us"] = json!(at.as_micros() as u64);
            return Ok((socket, said));
        }
    }
}

fn try_once(arguments: &Arguments) -> Result<(Socket, Value)> {
    let (form, protocol) = kind(arguments);
    let domain = Domain::for_address(arguments.target);
    let socket = Socket::new(domain, form, Some(protocol))?;
    if let Some(from) = arguments.from {
        socket.bind(&SocketAddr::new(from, 0).into()).with_context(|| format!("bind {from}"))?;
    }
    let timeout = Duration::from_millis(arguments.timeout_ms);
    let said = match socket.connect_timeout(&arguments.target.into(), timeout) {
        Ok(()) => {
            let address = |from: io::Result<socket2::SockAddr>| from.map(|a| a.as_socket());
            let (peer, local) = (address(socket.peer_addr())?, address(socket.local_addr())?);
            let peer = peer.context("the peer has no address of IP")?;
            json!({"peer": peer, "local": local})
        }
        Err(error) => json!({"error": error.kind().to_string(), "errno": error.raw_os_error()}),
    };
    Ok((socket, said))
}
