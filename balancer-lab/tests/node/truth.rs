//! The agent tells whether balancing works, and puts back what somebody takes away.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::fd::AsFd as _,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use crate::common::{VIP, Web, bpf, dial};
use aya::programs::loaded_programs;
use balancer_agent::{
    config::Capacities,
    maps::{ReadMaps as _, WriteMaps as _, pinned::PinnedMaps, pins::Pins},
};
use balancer_common::layout::{Row, Slot};
use balancer_lab::{Agent, Lab, manifests::Manifests};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::Value;

/// The agent looks twice a second; a machine with other work may be slower.
const SOON: Duration = Duration::from_secs(5);

const PROGRAMS: [&str; 10] = [
    "connect4", "connect6", "sendmsg4", "sendmsg6", "recvmsg4", "recvmsg6", "getpeer4", "getpeer6",
    "tcp", "release",
];

/// Asks for `status` until its part on balancing is as wanted.
fn await_balancing(agent: &Agent, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + SOON;
    loop {
        let status = agent.json(&["status"]).expect("status");
        if wanted(&status["balancing"]) {
            return status;
        }
        let log = agent.log().unwrap_or_default();
        assert!(Instant::now() < deadline, "still {status:#}\nlog of the agent:\n{log}");
    }
}

fn works(balancing: &Value) -> bool {
    balancing["state"] == "works"
}

fn mended(balancing: &Value) -> u64 {
    balancing["mended_total"].as_u64().expect("a number")
}

fn pin(web: &Web, kind: &str, name: &str) -> PathBuf {
    let root = web.lab.bpffs().join("balancer");
    let versions: Vec<_> = fs::read_dir(&root).expect("pins").flatten().collect();
    assert_eq!(versions.len(), 1, "{versions:?}");
    versions[0].path().join(kind).join(name)
}

fn id(status: &Value, program: &str) -> u64 {
    let programs = status["programs"].as_array().expect("programs");
    let found = programs.iter().find(|found| found["name"] == program).expect("the program");
    found["id"].as_u64().unwrap_or_else(|| panic!("{program} is not attached: {status:#}"))
}

/// Whether a new connection of a pod is led to a backend.
fn assert_balanced(web: &Web) {
    let said = dial(web.client.place(), (VIP, 80));
    assert_eq!(said["peer"], format!("{VIP}:80"), "{said}");
}

#[test]
fn what_is_detached_is_attached_again() {
    let web = Web::start("detached", 1);
    await_balancing(&web.agent, works);
    for (times, name) in PROGRAMS.into_iter().enumerate() {
        bpf::detach(&pin(&web, "links", name));
        let told = |balancing: &Value| works(balancing) && mended(balancing) > times as u64;
        let status = await_balancing(&web.agent, told);
        let _attached = PROGRAMS.map(|name| id(&status, name));
        assert_balanced(&web);
        let log = web.agent.log().expect("a log");
        assert!(log.contains(&format!("program {name} was detached")), "{log}");
    }
}

#[test]
fn a_program_that_was_replaced_is_put_back() {
    let (web, other) = (Web::start("replaced", 1), Web::start("replacing", 1));
    let before = id(&await_balancing(&web.agent, works), "connect4");
    let foreign = id(&other.agent.json(&["status"]).expect("status"), "connect4");
    let program = loaded_programs()
        .filter_map(Result::ok)
        .find(|info| u64::from(info.id()) == foreign)
        .expect("the other lab's program");
    bpf::replace(&pin(&web, "links", "connect4"), program.fd().expect("open").as_fd());
    let status = await_balancing(&web.agent, |balancing| mended(balancing) > 0);
    assert_eq!(id(&status, "connect4"), before, "{status:#}");
    assert_balanced(&web);
    let log = web.agent.log().expect("a log");
    assert!(log.contains("program connect4 was replaced by another"), "{log}");
}

#[test]
fn pins_that_were_removed_are_made_again_and_nothing_is_interrupted() {
    let web = Web::start("unpinned", 1);
    let before = await_balancing(&web.agent, works);
    let mut pins = Vec::new();
    for kind in ["links", "maps"] {
        let folder = pin(&web, kind, "");
        for entry in fs::read_dir(&folder).expect("pins").flatten() {
            fs::remove_file(entry.path()).expect("removed");
            pins.push(entry.path());
        }
        fs::remove_dir(&folder).expect("an empty folder");
    }
    assert!(pins.len() > 20, "{pins:?}");
    assert_balanced(&web);
    let all = pins.len() as u64;
    let status = await_balancing(&web.agent, |balancing| mended(balancing) >= all);
    assert_eq!(mended(&status["balancing"]), all, "each was mended once: {status:#}");
    assert!(pins.iter().all(|pin| pin.exists()), "{pins:?}");
    for name in PROGRAMS {
        assert_eq!(id(&status, name), id(&before, name), "{name} was never detached");
    }
    assert_balanced(&web);
    let log = web.agent.log().expect("a log");
    for object in ["link connect4", "map ACTIVE"] {
        assert!(log.contains(&format!("the pin of {object} was removed")), "{log}");
    }
}

/// What another tool changes in the maps is put back, named and counted, and connections are led
/// again.
#[test]
fn what_others_change_in_maps_is_put_back() {
    let web = Web::start("edited", 2);
    await_balancing(&web.agent, works);
    let pins = Pins::new(&web.lab.bpffs().join("balancer"));
    let mut maps = PinnedMaps::open(&pins, Capacities::MAX).expect("maps");
    let frontends = maps.frontends().expect("frontends");
    let (service, name) = maps.names().expect("names").remove(0);
    let (row, backend) = (maps.row(service), maps.slot(maps.row(service).base).backend);
    let before = maps.backend(backend);
    for (key, _) in &frontends {
        maps.remove_frontend(*key).expect("removed");
    }
    await_true("frontends", || maps.frontends().expect("frontends").len() == frontends.len());
    assert_balanced(&web);

    maps.remove_name(service).expect("removed");
    maps.set_row(service, Row::EMPTY);
    maps.set_slot(row.base, Slot { backend: 0, weight: 1, salt: 0 });
    maps.restore_backend(backend, [1, 2, 3, 4], 5, 17);
    await_true("names", || maps.names().expect("names") == [(service, name)]);
    await_true("the row", || maps.row(service) == row && maps.slot(row.base).backend != 0);
    await_true("the backend", || {
        let now = maps.backend(backend);
        (now.addr, now.port, now.protocol) == (before.addr, before.port, before.protocol)
    });
    assert_balanced(&web);
    assert!(maps.backend(backend).opened >= before.opened, "what was counted stays");

    let metrics = web.agent.metrics().expect("metrics");
    for map in ["FRONTENDS4", "NAMES", "SERVICES", "SLOTS", "BACKENDS"] {
        let series = format!("balancer_map_entries_mended_total{{map=\"{map}\"}} 1");
        assert!(metrics.lines().any(|line| line == series), "{map}: {metrics}");
    }
    let log = web.agent.log().expect("a log");
    assert!(log.contains("changed by somebody else") && log.contains("10.96.0.10:80"), "{log}");
}

/// A map that was frozen takes no change: that is told before there is one.
#[test]
fn a_frozen_map_is_named() {
    let web = Web::start("frozen", 1);
    await_balancing(&web.agent, works);
    bpf::freeze(&pin(&web, "maps", "FRONTENDS4"));
    await_true("told", || {
        let status = web.agent.json(&["status"]).expect("status");
        let problems = status["problems"].as_array().expect("problems");
        problems.iter().any(|problem| {
            let message = problem["message"].as_str().unwrap_or_default();
            problem["object"] == "map FRONTENDS4" && message.starts_with("is frozen")
        })
    });
    assert_balanced(&web);
}

fn await_true(what: &str, is: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is() {
        assert!(Instant::now() < deadline, "{what}");
        thread::yield_now();
    }
}

#[test]
fn pins_are_made_again_once_there_is_a_place_for_them() {
    let web = Web::start("unmounted", 1);
    await_balancing(&web.agent, works);
    umount2(&web.lab.bpffs(), MntFlags::MNT_DETACH).expect("unmounted");
    let status = await_balancing(&web.agent, |balancing| balancing["state"] == "broken");
    let detail = status["balancing"]["detail"].to_string();
    assert!(detail.contains("is on no BPF file system any more"), "{detail}");
    assert_balanced(&web);
    let nothing = None::<&str>;
    mount(Some("bpf"), &web.lab.bpffs(), Some("bpf"), MsFlags::empty(), nothing).expect("mounted");
    await_balancing(&web.agent, works);
    assert!(pin(&web, "links", "connect4").exists() && pin(&web, "maps", "ACTIVE").exists());
    assert_balanced(&web);
}

#[test]
fn the_agents_own_connections_change_no_count() {
    let web = Web::start("uncounted", 1);
    let before = await_balancing(&web.agent, works);
    let tests = |status: &Value| status["balancing"]["tests_total"].as_u64().expect("a number");
    let first = tests(&before);
    let after = await_balancing(&web.agent, |_| {
        tests(&web.agent.json(&["status"]).expect("status")) > first + 1
    });
    for field in ["connections", "verdicts", "capacity", "problems"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    assert_eq!(web.opened(), [0]);
}

/// TCP ports at which a process listens in the lab's node.
fn listening(web: &Web, pid: u32) -> Vec<SocketAddr> {
    let output = web.lab.node().command("ss").args(["-lntpH"]).output().expect("ss");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let of_it = text.lines().filter(|line| line.contains(&format!("pid={pid},")));
    let port = |line: &str| {
        let local = line.split_whitespace().nth(3)?;
        local.rsplit_once(':')?.1.parse().ok()
    };
    of_it.map(|line| (Ipv4Addr::LOCALHOST, port(line).expect("a port")).into()).collect()
}

/// As many as fit into any queue, and more.
#[test]
fn connections_of_others_to_the_agent_break_no_test() {
    let web = Web::start("wedged", 1);
    let before = await_balancing(&web.agent, works);
    let tests = |status: &Value| status["balancing"]["tests_total"].as_u64().expect("a number");
    let ports = listening(&web, web.agent.pid().expect("it runs"));
    assert_eq!(ports.len(), 2, "metrics and health, and nothing else: {ports:?}");
    let mut targets = ports;
    targets.push(([127, 66, 76, 82], 1).into());
    let connect = move || {
        let patience = Duration::from_millis(20);
        let open = |target| TcpStream::connect_timeout(target, patience).ok();
        let wanted = targets.iter().flat_map(|target| std::iter::repeat_n(target, 200));
        wanted.filter_map(open).collect::<Vec<_>>()
    };
    let held = web.lab.node().within(connect).expect("entered");
    assert!(held.len() > 100, "{}", held.len());
    let mut seen = tests(&before);
    for _ in 0..3 {
        let status = await_balancing(&web.agent, |_| {
            tests(&web.agent.json(&["status"]).expect("status")) > seen
        });
        assert!(works(&status["balancing"]), "{status:#}");
        seen = tests(&status);
    }
    let log = web.agent.log().expect("a log");
    assert!(!log.contains("balancing does not work"), "{log}");
    drop(held);
}

#[test]
fn a_cgroup_that_went_is_told_and_one_that_comes_is_taken() {
    let lab = Lab::create("cgroup").expect("a lab; the tests need root, iproute2, and cgroup2");
    let manifests = Manifests::create(lab.state_dir().join("manifests")).expect("manifests");
    // Not one that the agent is in, which could not be removed.
    let cgroup = lab.cgroup().join("balanced");
    fs::create_dir(&cgroup).expect("a cgroup");
    let path = cgroup.display().to_string();
    let agent = Agent::start(&lab, manifests.dir(), &["--cgroup", &path]).expect("agent");
    let status = await_balancing(&agent, |balancing| balancing["state"] == "untested");
    assert!(status["balancing"]["detail"].to_string().contains("runs outside of"), "{status:#}");

    fs::remove_dir(&cgroup).expect("an empty cgroup");
    let status = await_balancing(&agent, |balancing| balancing["state"] == "broken");
    let detail = status["balancing"]["detail"].to_string();
    assert!(detail.contains("was detached") && detail.contains("and 9 more"), "{detail}");
    assert!(detail.contains(&path), "{detail}");

    fs::create_dir(&cgroup).expect("a cgroup");
    let status = await_balancing(&agent, |balancing| balancing["state"] == "untested");
    assert_eq!(status["cgroup"], path.as_str(), "{status:#}");
    let _attached = PROGRAMS.map(|name| id(&status, name));
}
