//! How connections from outside end.

use std::{
    mem::offset_of,
    net::{SocketAddr, SocketAddrV4},
    thread,
    time::{Duration, Instant},
};

use aya::maps::{HashMap, Map, MapData};
use balancer_common::layout::{LAYOUT_VERSION, OutsideFlow, OutsideKey};
use balancer_lab::{Place, http::Server};

use super::stage::{READY, Stage};
use crate::common::{Connections, VIP, dial, packets};

/// A client that is cut off: connection tracking gives it up, and the agent asks that.
#[test]
fn what_ends_without_a_packet_is_found() {
    let stage = Stage::start("outside-silent");
    let [node, outside] = [stage.cluster.nodes()[0].place(), stage.cluster.outside()];
    node.set_sysctl("net/netfilter/nf_conntrack_tcp_timeout_established", "2").expect("set");
    let target = stage.at(0);
    let held = Connections::open(outside, target, 3).opened(target);
    let cut =
        "table ip cut { chain out { type filter hook output priority 0; tcp dport 30080 drop; }; }";
    assert!(outside.command("nft").arg(cut).status().expect("nft").success());
    drop(held);
    assert_eq!(stage.counts(0), [1, 1, 1]);
    let deadline = Instant::now() + Duration::from_secs(30);
    while stage.counts(0) != [0, 0, 0] {
        assert!(Instant::now() < deadline, "{:?}", stage.counts(0));
    }
}

/// Its trial is a connection from outside, and so is all that comes after: nobody else would learn that
/// the backend answers again.
#[test]
fn a_connection_from_outside_ends_that_a_backend_is_suspect() {
    let mut stage = Stage::start("outside-suspect");
    let refuses = stage.pods[1].ip().to_string();
    let state = |stage: &Stage| {
        let shown = stage.agents[0].json(&["services", "default/web"]).expect("services");
        let backends = shown[0]["backends"].as_array().expect("backends").clone();
        let found = backends.iter().find(|backend| backend["address"] == *refuses);
        let found = found.unwrap_or_else(|| panic!("{shown}"));
        found["state"].as_str().expect("text").to_owned()
    };
    stage.servers.remove(1);
    let await_state = |stage: &Stage, wanted: &str, from: &Place, target: SocketAddr| {
        let deadline = Instant::now() + READY;
        while state(stage) != wanted {
            assert!(Instant::now() < deadline, "{}, not {wanted}", state(stage));
            dial(from, target);
        }
    };
    await_state(&stage, "suspect", stage.pods[0].place(), (VIP, 80).into());
    let pod = &stage.pods[1];
    let at = [pod.socket(8080), pod.socket6(8080)];
    stage.servers.push(Server::start(pod.place(), pod.name(), &at).expect("server"));
    await_state(&stage, "ready", stage.cluster.outside(), stage.at(0));
    stage.await_counts(0, &[0, 0, 0]);
}

/// Numbers wrap around: what is 2 GiB further on looks like what was before. There is no agent that would
/// find the ends.
#[test]
fn the_end_of_a_connection_is_seen_however_much_was_sent() {
    type Key = [u8; size_of::<OutsideKey>()];
    type Flow = [u8; size_of::<OutsideFlow>()];
    const SINCE: usize = offset_of!(OutsideFlow, since);
    const SEQUENCE: usize = offset_of!(OutsideFlow, sequence);
    let mut stage = Stage::start("outside-long");
    let target = stage.at(0);
    let held = Connections::open(stage.cluster.outside(), target, 3).opened(target);
    stage.agents[0].kill().expect("it runs");
    let folder = stage.cluster.nodes()[0].bpffs();
    let pin = folder.join(format!("balancer/v{LAYOUT_VERSION}/maps/OUTSIDE"));
    let map = Map::HashMap(MapData::from_pin(pin).expect("map"));
    let mut flows: HashMap<MapData, Key, Flow> = map.try_into().expect("a hash map");
    let open: Vec<(Key, Flow)> = flows.iter().collect::<Result<_, _>>().expect("read");
    assert_eq!(open.len(), 3);
    for (key, mut flow) in open {
        let since = u64::from_ne_bytes(*flow[SINCE..].first_chunk().expect("a word"));
        let minute = Duration::from_secs(60).as_nanos() as u64;
        flow[SINCE..][..8].copy_from_slice(&since.wrapping_sub(minute).to_ne_bytes());
        let first = u32::from_ne_bytes(*flow[SEQUENCE..].first_chunk().expect("a word"));
        flow[SEQUENCE..][..4].copy_from_slice(&first.wrapping_sub(1 << 31).to_ne_bytes());
        flows.insert(key, flow, 0).expect("written");
    }
    assert_eq!(stage.counts(0), [1, 1, 1]);
    drop(held);
    stage.await_counts(0, &[0, 0, 0]);
}

/// What ends a connection on one processor while another one ends it and begins it anew removes the entry of
/// neither the wrong one nor both: there is no agent that would mend the counts.
#[test]
fn a_connection_that_ends_and_begins_on_several_processors_is_counted_once() {
    let mut stage = Stage::start("outside-race");
    stage.agents[0].kill().expect("it runs");
    let program = packets::program(&stage.pins(0, "outside_in")[0]);
    let client: SocketAddrV4 = "198.51.100.7:40000".parse().expect("an address");
    let SocketAddr::V4(target) = stage.at(0) else { panic!("IPv4") };
    let syn = packets::segment(client, target, packets::SYN, 1000);
    let rst = packets::segment(client, target, packets::RST, 1001);
    let until = Instant::now() + Duration::from_secs(5);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while Instant::now() < until {
                    packets::run(&program, &rst, 100_000);
                }
            });
        }
        scope.spawn(|| {
            while Instant::now() < until {
                packets::run(&program, &syn, 1);
                packets::run(&program, &rst, 1);
            }
        });
    });
    packets::run(&program, &rst, 1);
    assert_eq!(stage.counts(0), [0, 0, 0]);
    packets::run(&program, &syn, 1);
    assert_eq!(stage.counts(0), [0, 0, 1]);
}
