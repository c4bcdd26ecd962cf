//! `balancer-lab crowd`

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use balancer_common::charge::{BUCKET, KEY_WORDS, places};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::json;
use socket2::{Domain, Protocol, Socket, Type};

/// Sockets that are made in search of those that are held.
const MOST: usize = 4_000_000;

/// Hold UDP sockets that would take the room of others in the table of charges, were the key known;
/// then connect the others, and say how many were refused
///
/// What a pod can do that knows the code of balancer, and every cookie (SO_COOKIE).
#[derive(clap::Args)]
#[command(after_help = "Example:\n  balancer-lab crowd 10.96.0.11:53 10.96.0.10:80")]
pub(super) struct Arguments {
    /// The Service that the chosen sockets are connected to
    crowd: SocketAddr,
    /// The Service that the others dial over TCP
    target: SocketAddr,
    /// So many others
    #[arg(long, default_value_t = 200)]
    count: usize,
    /// The words of the key; without, it is guessed
    #[arg(long, num_args = KEY_WORDS as usize)]
    key: Vec<u64>,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("raise RLIMIT_NOFILE")?;
    let key = match arguments.key[..] {
        [first, second, third] => [first, second, third],
        _ => rand::random(),
    };
    let tcp = || Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP));
    let others = (0..arguments.count).map(|_| tcp()).collect::<Result<Vec<_>, _>>()?;
    // Room in each bucket that one of the others may be put into.
    let mut room = HashMap::new();
    for other in &others {
        room.extend(places(key, other.cookie()?).map(|bucket| (bucket, BUCKET - 1)));
    }
    let held = hold(arguments.crowd, key, room)?;
    let timeout = Duration::from_millis(100);
    let dial = |other: &Socket| other.connect_timeout(&arguments.target.into(), timeout).is_err();
    let refused = others.iter().filter(|other| dial(other)).count();
    println!("{}", json!({"held": held.len(), "refused": refused}));
    Ok(())
}

/// Connects sockets until the room is taken.
fn hold(
    target: SocketAddr,
    key: [u64; KEY_WORDS as usize],
    mut room: HashMap<u32, u32>,
) -> Result<Vec<Socket>> {
    let mut left: u32 = room.values().sum();
    let mut held = Vec::new();
    for _ in 0..MOST {
        if left == 0 {
            return Ok(held);
        }
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        let Some(free) = room.get_mut(&places(key, socket.cookie()?)[0]).filter(|free| **free > 0)
        else {
            continue;
        };
        *free -= 1;
        left -= 1;
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into())?;
        socket.connect(&target.into()).with_context(|| format!("socket {}", held.len()))?;
        held.push(socket);
    }
    ensure!(left == 0, "room for {left} is left after {MOST} sockets");
    Ok(held)
}
