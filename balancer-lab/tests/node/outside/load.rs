//! Many connections from outside. docs/outside.md has the command.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use balancer_lab::Pod;
use nix::sys::{
    resource::{Resource, setrlimit},
    socket::{setsockopt, sockopt},
};
use socket2::{Domain, Protocol, Socket, Type};

use super::stage::Stage;
use crate::common::packets;

/// Addresses of clients.
const CLIENTS: u8 = 64;

/// Clients beside the one that the place has by itself.
fn client(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 18, 200, number)
}

fn add_clients(stage: &Stage) {
    for number in 1..=CLIENTS {
        let mut ip = stage.cluster.outside().command("ip");
        ip.args(["addr", "add", &format!("{}/16", client(number)), "dev", "br0"]);
        assert!(ip.status().expect("ip").success());
    }
}

fn dial(from: Ipv4Addr, to: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("a socket");
    // The port is chosen as it connects.
    setsockopt(&socket, sockopt::IpBindAddressNoPort, &true).expect("set");
    socket.bind(&SocketAddr::from((from, 0)).into()).expect("bound");
    socket.connect(&to.into()).unwrap_or_else(|error| panic!("{from} to {to}: {error}"));
    socket
}

/// Half of them are closed, half reset.
#[test]
#[ignore = "takes a minute and both processors"]
fn a_hundred_thousand_connections_and_twenty_agents_leave_no_count_behind() {
    const TOTAL: usize = 100_000;
    const KILLS: usize = 20;
    let mut stage = Stage::start("outside-many");
    add_clients(&stage);
    let (target, outside) = (stage.at(0), stage.cluster.outside().clone());
    let done = AtomicUsize::new(0);
    let worker = |first: u8| {
        for number in 0..TOTAL / 2 {
            let socket = dial(client(first + (number % 32) as u8), target);
            if number % 2 == 0 {
                socket.set_linger(Some(Duration::ZERO)).expect("set");
            }
            drop(socket);
            done.fetch_add(1, Ordering::Relaxed);
        }
    };
    let started = Instant::now();
    thread::scope(|scope| {
        for first in [1, 33] {
            let (outside, worker) = (&outside, &worker);
            scope.spawn(move || outside.within(|| worker(first)).expect("a place"));
        }
        for kill in 1..=KILLS {
            while done.load(Ordering::Relaxed) < TOTAL * kill / (KILLS + 1) {
                thread::yield_now();
            }
            stage.agents[0].kill().expect("it runs");
            stage.agents[0].resume().expect("started");
        }
    });
    println!("{TOTAL} connections in {:?}", started.elapsed());
    stage.await_counts(0, &[0, 0, 0]);
}

#[test]
#[ignore = "takes a minute and both processors"]
fn fifty_thousand_connections_at_once_are_spread_over_the_backends() {
    const EACH: usize = 16_667;
    // Both ends of each.
    let most = 3 * EACH as u64 * 2 + 1000;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("raised");
    let mut stage = Stage::start("outside-at-once");
    add_clients(&stage);
    stage.servers.clear();
    let serve = |pod: &Pod| {
        let at = pod.socket(8080);
        let listener = pod.place().within(|| TcpListener::bind(at)).expect("a place");
        let listener = listener.expect("a port");
        thread::spawn(move || {
            let accepted = listener.incoming().take(EACH);
            accepted.map(|stream| stream.expect("accepted")).collect::<Vec<TcpStream>>()
        })
    };
    let servers: Vec<_> = stage.pods.iter().map(serve).collect();
    let target = stage.at(0);
    let open = || {
        let of = |number: usize| dial(client((number % usize::from(CLIENTS)) as u8 + 1), target);
        (0..3 * EACH).map(of).collect::<Vec<Socket>>()
    };
    let started = Instant::now();
    let mut held = stage.cluster.outside().within(open).expect("a place");
    println!("{} connections in {:?}", held.len(), started.elapsed());
    assert_eq!(stage.counts(0), [EACH as u64; 3]);
    let accepted: Vec<TcpStream> =
        servers.into_iter().flat_map(|server| server.join().expect("a server")).collect();
    for one in &mut held {
        one.write_all(b"hello").expect("sent");
    }
    for mut one in &accepted {
        let mut heard = [0; 5];
        one.read_exact(&mut heard).expect("heard");
        assert_eq!(&heard, b"hello");
    }
    drop((held, accepted));
    stage.await_counts(0, &[0, 0, 0]);
}

/// From forged addresses, until the kernel sends no more in the time. What they fill is found by the agent, and
/// what is open goes on.
#[test]
#[ignore = "takes a minute and both processors"]
fn a_flood_of_forged_syns_leaves_connections_and_the_agent_well() {
    const TIME: Duration = Duration::from_secs(5);
    let stage = Stage::start("outside-flood");
    let node = stage.cluster.nodes()[0].place();
    for state in ["syn_sent", "syn_recv", "close"] {
        node.set_sysctl(&format!("net/netfilter/nf_conntrack_tcp_timeout_{state}"), "2")
            .expect("set");
    }
    let (SocketAddr::V4(target), outside) = (stage.at(0), stage.cluster.outside()) else {
        panic!("IPv4")
    };
    let mut open = outside.within(|| TcpStream::connect(target)).expect("a place").expect("open");
    let flood = || {
        let kind = Some(Protocol::from(nix::libc::IPPROTO_RAW));
        let socket = Socket::new(Domain::IPV4, Type::RAW, kind).expect("a socket");
        let started = Instant::now();
        let mut sent = 0_u32;
        while started.elapsed() < TIME {
            // 198.18.0.0/15 is for measurements (RFC 2544).
            let from = Ipv4Addr::from(0xc612_0000 | sent & 0x1_ffff);
            let from = SocketAddrV4::new(from, 1024 + (sent >> 17) as u16);
            let frame = packets::segment(from, target, packets::SYN, sent);
            sent += u32::from(
                socket
                    .send_to(&frame[packets::ETHERNET..], &SocketAddr::from(target).into())
                    .is_ok(),
            );
        }
        f64::from(sent) / started.elapsed().as_secs_f64()
    };
    let rate = outside.within(flood).expect("a place");
    println!("{rate:.0} SYNs a second");
    let status = stage.agents[0].json(&["status"]).expect("the agent answers");
    assert_eq!(status["problems"], serde_json::json!([]));
    open.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
    open.write_all(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    open.read_to_string(&mut answer).expect("answered");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let started = Instant::now();
    while stage.counts(0) != [0, 0, 0] {
        assert!(started.elapsed() < Duration::from_secs(120), "{:?}", stage.counts(0));
    }
    println!("no count is left after {:?}", started.elapsed());
}
