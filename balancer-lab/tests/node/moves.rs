//! Connections that live long: each is known, and the right few are ended so that nobody notices.

use std::{
    io::Read as _,
    net::{Ipv4Addr, TcpListener},
    process::Stdio,
    time::{Duration, Instant},
};

use crate::common::{
    self, Connections, VIP, Web, address,
    clients::{Client, pod_object, tell},
    connections::listed,
    ends::{self, ended},
    pools::pools,
    posts::{Posts, assert_told_right, serve_posts},
};
use balancer_lab::{
    http::{self, LoadOptions, Pools, Until},
    manifests::Service,
    posts::{self, Said, Way},
};
use serde_json::{Value, json};

/// The Service with these backends, and annotations of balancer.
fn service(backends: &[u8], annotations: &[(&str, &str)]) -> Service {
    let mut service = Service::new("web", VIP, 80, 8080, backends.iter().map(|n| address(*n)));
    for (name, value) in annotations {
        service = service.annotated(&format!("balancer-agent/{name}"), value);
    }
    service
}

/// Waits until the counts of the backends, in any order, are as wanted; says how long that took.
fn await_counts(web: &Web, wanted: &[u64], within: Duration) -> Duration {
    let started = Instant::now();
    loop {
        let mut counts = web.counts();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        if counts == wanted {
            return started.elapsed();
        }
        let log = web.agent.log().unwrap_or_default();
        assert!(started.elapsed() < within, "{counts:?}, not {wanted:?}\nlog of the agent:\n{log}");
    }
}

#[test]
fn every_connection_is_listed_with_its_pod_and_process() {
    let web = Web::start("listed", 2);
    tell(&web, &[pod_object(201, None)]);
    let (client, other) = (Client::start(&web, 201), Client::start(&web, 202));
    let held = Connections::open(client.pod.place(), (VIP, 80), 4);
    let _others = Connections::open(other.pod.place(), (VIP, 80), 2);
    let all = listed(&web, &[]);
    assert_eq!(all.len(), 6, "{all:#?}");
    let of_pod = listed(&web, &["--service", "web", "--pod", "client-201"]);
    assert_eq!(of_pod.len(), 4, "{of_pod:#?}");
    for found in &of_pod {
        assert_eq!(found["pod"], json!({"namespace": "default", "name": "client-201"}));
        assert_eq!(found["command"], "balancer-lab");
        assert_eq!(found["activity"]["state"], "established");
        assert_eq!(found["activity"]["bytes_sent"], 0);
        let local = format!("10.244.0.201:{}", found["client"]["port"]);
        assert!(held.said.iter().any(|said| said["local"] == local), "{local} {:?}", held.said);
    }
    let backend = web.backends[0].ip().to_string();
    assert_eq!(listed(&web, &["--backend", &backend]).len(), 3);
    let unknown = web.agent.json(&["connections", "--backend", &format!("{backend}:9")]);
    let told = unknown.expect_err("no such backend").to_string();
    assert!(told.contains(&format!("{backend}:9")), "{told}");
    let unknown = web.agent.json(&["connections", "--service", "shop/web"]);
    let told = unknown.expect_err("no such Service").to_string();
    assert!(told.contains("did you mean default/web?"), "{told}");
    drop(held);
    assert_eq!(listed(&web, &[]).len(), 2);
}

/// Every request of a client was answered; says over how many connections.
fn assert_served(client: &mut http::Client) -> u64 {
    let report = client.report().expect("report");
    assert_eq!((report.errors, report.first_error.as_deref()), (0, None), "{report:?}");
    report.connections()
}

/// A rolling restart piles the connections up on the pod that was there first.
#[test]
fn connections_spread_again_when_pods_join_and_no_request_fails() {
    let mut web = Web::start("rollout", 3);
    let annotations = [("rebalance", "true")];
    web.change(|_| service(&[1], &annotations), |shown| common::in_use(shown) == [1]);
    let mut client = pools(&web, 20, Duration::from_secs(8));
    await_counts(&web, &[20], Duration::from_secs(5));
    web.change(|_| service(&[1, 2, 3], &annotations), |shown| common::in_use(shown) == [1, 2, 3]);
    await_counts(&web, &[7, 7, 6], Duration::from_secs(5));
    assert_eq!(assert_served(&mut client), 33, "13 are ended, and no more");
    assert_eq!(ended(&web, "rebalance", "gentle"), 13);
}

#[test]
fn pools_follow_when_a_service_scales_out() {
    let mut web = Web::start("scale-out", 8);
    let annotations = [("rebalance", "true")];
    let (four, eight) = ([1, 2, 3, 4], [1, 2, 3, 4, 5, 6, 7, 8]);
    web.change(|_| service(&four, &annotations), |shown| common::in_use(shown) == four);
    let mut client = pools(&web, 16, Duration::from_secs(8));
    await_counts(&web, &[4; 4], Duration::from_secs(5));
    web.change(|_| service(&eight, &annotations), |shown| common::in_use(shown) == eight);
    await_counts(&web, &[2; 8], Duration::from_secs(8));
    assert_eq!(assert_served(&mut client), 24, "8 are ended, and no more");
}

#[test]
fn a_service_is_rebalanced_by_hand() {
    let mut web = Web::start("by-hand", 3);
    web.change(|_| service(&[1], &[]), |shown| common::in_use(shown) == [1]);
    let mut client = pools(&web, 20, Duration::from_secs(8));
    await_counts(&web, &[20], Duration::from_secs(5));
    web.change(|_| service(&[1, 2, 3], &[]), |shown| common::in_use(shown) == [1, 2, 3]);
    let dry = web.agent.json(&["rebalance", "web", "--dry-run"]).expect("a dry run");
    let moves = dry["moves"].as_array().expect("moves").len() as u64;
    assert_eq!(moves + dry["busy"].as_u64().expect("a number"), 13, "{dry:#}");
    let targets = dry["backends"].as_array().expect("backends").iter();
    let targets: Vec<_> =
        targets.map(|share| share["target"].as_u64().expect("a target")).collect();
    assert_eq!(targets, [7, 7, 6]);
    assert_eq!(web.counts(), [20, 0, 0], "a dry run ends nothing");
    web.agent.cli(&["rebalance", "web"]).expect("moves");
    await_counts(&web, &[7, 7, 6], Duration::from_secs(5));
    assert_eq!(assert_served(&mut client), 33);
    let balanced = web.agent.json(&["rebalance", "web"]).expect("nothing");
    assert_eq!((&balanced["moves"], &balanced["busy"]), (&json!([]), &json!(0)));
}

/// What hangs on a connection may rest between two requests, unless the port says that nothing
/// does.
#[test]
fn the_quiet_time_follows_the_protocol_of_the_port() {
    let mut web = Web::start("quiet-time", 2);
    let named = |backends: &[u8], name: &str| {
        let mut service = service(backends, &[]);
        service.ports[0].0 = name.into();
        service
    };
    web.change(|_| named(&[1], "db"), |shown| common::in_use(shown) == [1]);
    let _client = pools(&web, 8, Duration::from_secs(20));
    await_counts(&web, &[8], Duration::from_secs(5));
    web.change(|_| named(&[1, 2], "db"), |shown| common::in_use(shown) == [1, 2]);
    let dry = |wanted: fn(&Value) -> bool| {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let dry = web.agent.json(&["rebalance", "web", "--dry-run"]).expect("a dry run");
            if wanted(&dry) {
                return dry;
            }
            assert!(Instant::now() < deadline, "{dry:#}");
        }
    };
    // Nothing rests for so long between two requests.
    let told = dry(|dry| dry["waiting"][0]["connections"].as_u64() > Some(0));
    assert_eq!(told["waiting"][0]["quiet_ms"], 5_000, "{told:#}");
    assert_eq!((&told["moves"], &told["busy"]), (&json!([]), &json!(4)), "{told:#}");
}

#[test]
fn what_is_quiet_for_long_is_ended() {
    let mut web = Web::start("idle", 2);
    web.change(|_| service(&[1, 2], &[("idle-timeout", "3s")]), |s| common::in_use(s) == [1, 2]);
    let uri = format!("http://{VIP}/").parse().expect("uri");
    // Pools that somebody drives: they close what was ended. With one request each, as a pool of
    // hyper's may begin a connection more for a second one, and open it when the first is closed.
    let options = LoadOptions::new(uri, 1, Pools::Shared, Until::Requests(1));
    let start = |_| http::Client::start(web.client.place(), &options).expect("client");
    let mut idle: Vec<_> = (0..6).map(start).collect();
    for client in &mut idle {
        client.go().expect("started");
        assert_eq!(assert_served(client), 1);
    }
    let mut used = pools(&web, 4, Duration::from_secs(12));
    await_counts(&web, &[2, 2], Duration::from_secs(10));
    assert_eq!(ended(&web, "idle", "gentle"), 6);
    assert_eq!(assert_served(&mut used), 4, "what is used stays");
}

#[test]
fn what_is_old_is_ended_when_it_is_quiet() {
    let mut web = Web::start("age", 2);
    let annotations = [("max-connection-age", "1s"), ("max-connection-age-jitter", "1s")];
    web.change(|_| service(&[1, 2], &annotations), |shown| common::in_use(shown) == [1, 2]);
    let mut client = pools(&web, 8, Duration::from_secs(6));
    let connections = assert_served(&mut client);
    let gentle = ended(&web, "age", "gentle");
    assert!((16..=48).contains(&gentle), "each lives for 1 to 3 s: {gentle}");
    // The last of them may not have carried a request yet, or the one before been opened again.
    assert!(connections.abs_diff(gentle + 8) <= 8, "{connections} and {gentle}");
}

/// A first request is sent in the tick of the handshake and acknowledged at once: by times alone it
/// can't be told from a connection that rests.
#[test]
fn a_first_request_is_awaited_however_long_its_answer_takes() {
    let mut web = Web::start("first", 1);
    web.servers.clear();
    let silent = || TcpListener::bind(web.backends[0].socket(8080));
    let _silent = web.backends[0].place().within(silent).expect("entered").expect("bound");
    let annotations = [("max-connection-age", "1s")];
    web.change(|_| service(&[1], &annotations), |shown| common::in_use(shown) == [1]);
    let script = format!("exec 3<>/dev/tcp/{VIP}/80; echo hello >&3; echo; read -ru 3");
    let mut command = web.client.command("bash");
    let mut asking = command.args(["-c", &script]).stdout(Stdio::piped()).spawn().expect("bash");
    let said = asking.stdout.as_mut().expect("a pipe").read(&mut [0]).expect("sent");
    assert_eq!(said, 1);
    // Each pass that ends one of these has looked at the other one, which is older.
    for unused in 1..=3 {
        let _unused = Connections::open(web.client.place(), (VIP, 80), 1);
        let deadline = Instant::now() + Duration::from_secs(30);
        while ended(&web, "age", "gentle") < unused {
            let is_early = Instant::now() < deadline;
            assert!(is_early, "the unused connection is not ended\n{}", ends::told(&web));
        }
        assert_eq!(ended(&web, "age", "gentle"), unused);
    }
    assert!(asking.try_wait().expect("asked").is_none(), "it has read an end of file");
    asking.kill().expect("killed");
    asking.wait().expect("its end");
}

#[test]
fn a_backend_that_terminates_drains_over_its_time() {
    let mut web = Web::start("terminates", 3);
    let annotations = [("drain-timeout", "2s")];
    web.change(|_| service(&[1, 2, 3], &annotations), |s| common::in_use(s) == [1, 2, 3]);
    let mut client = pools(&web, 12, Duration::from_secs(8));
    await_counts(&web, &[4, 4, 4], Duration::from_secs(5));
    web.change(
        |mut service| {
            let leaving = &mut service.endpoints[0];
            (leaving.ready, leaving.serving, leaving.terminating) =
                (Some(false), Some(true), Some(true));
            service
        },
        |shown| common::in_use(shown) == [2, 3],
    );
    let took = await_counts(&web, &[6, 6], Duration::from_secs(6));
    assert!(took > Duration::from_secs(1), "not all at once: {took:?}");
    assert_eq!(assert_served(&mut client), 16);
    assert_eq!(ended(&web, "drain", "gentle"), 4);
}

#[test]
fn a_backend_is_drained_by_hand_and_taken_back() {
    let web = Web::start("drained", 2);
    let mut client = pools(&web, 8, Duration::from_secs(8));
    await_counts(&web, &[4, 4], Duration::from_secs(5));
    let first = web.backends[0].ip().to_string();
    web.agent.cli(&["drain", &first, "--timeout", "1s", "--wait"]).expect("drained");
    // Whoever was moved last opens another connection with its next request.
    await_counts(&web, &[8], Duration::from_secs(5));
    let drains = web.agent.json(&["drain"]).expect("a list");
    assert_eq!(drains[0]["backend"]["address"], first.as_str(), "{drains:#}");
    // The other one is all that is left.
    let second = web.backends[1].ip().to_string();
    let refused = web.agent.cli(&["drain", &second]).expect_err("refused").to_string();
    assert!(refused.contains("default/web would have no backend left"), "{refused}");
    web.agent.cli(&["drain", &first, "--cancel"]).expect("taken back");
    common::await_shown(&web.agent, |all| common::in_use(&all[0]) == [1, 2]);
    assert_eq!(assert_served(&mut client), 12);

    // A Service that is gone in the middle of it: nothing is ended, as nothing could be opened.
    let held = Connections::open(web.client.place(), (VIP, 80), 4);
    web.agent.cli(&["drain", &first, "--timeout", "1s"]).expect("drained");
    web.manifests.remove(&web.service).expect("removed");
    common::await_shown(&web.agent, |all| all.iter().all(|s| s["frontends"] == json!([])));
    let before = ended(&web, "drain", "gentle");
    web.agent.cli(&["drain", &first, "--cancel"]).expect("taken back");
    assert_eq!(ended(&web, "drain", "gentle"), before);
    drop(held);
}

#[test]
fn what_leads_to_a_backend_that_is_gone_is_ended() {
    let mut web = Web::start("stale", 2);
    let annotations = [("stale-timeout", "1s"), ("reset-after", "1s")];
    // Another Service that has the backend is no matter.
    let other = Service::new("web-2", Ipv4Addr::new(10, 96, 7, 7), 80, 8080, [address(1)]);
    web.manifests.write(&other).expect("written");
    web.change(|_| service(&[1, 2], &annotations), |shown| common::in_use(shown) == [1, 2]);
    let mut client = pools(&web, 4, Duration::from_secs(7));
    await_counts(&web, &[2, 2], Duration::from_secs(5));
    // These never look at what they are told: the server's close ends them.
    let deaf = Connections::open(web.client.place(), (VIP, 80), 2);
    web.change(|_| service(&[2], &annotations), |shown| common::in_use(shown) == [2]);
    await_counts(&web, &[5], Duration::from_secs(6));
    assert_eq!((ended(&web, "stale", "gentle"), ended(&web, "stale", "reset")), (3, 0));
    assert_eq!(assert_served(&mut client), 6);
    drop(deaf);
}

/// Ends connections that neither side closes, whatever they are told, and awaits that they are
/// reset.
fn is_reset_at_last(name: &str, annotation: &str, reason: &str) {
    let mut web = Web::start(name, 1);
    web.servers.clear();
    let silent = || TcpListener::bind(web.backends[0].socket(8080));
    let _silent = web.backends[0].place().within(silent).expect("entered").expect("bound");
    let annotations = [(annotation, "1s"), ("reset-after", "1s")];
    web.change(|_| service(&[1], &annotations), |shown| common::in_use(shown) == [1]);
    let _deaf = Connections::open(web.client.place(), (VIP, 80), 3);
    await_counts(&web, &[0], Duration::from_secs(10));
    assert_eq!((ended(&web, reason, "gentle"), ended(&web, reason, "reset")), (3, 3));
}

#[test]
fn what_is_old_and_nobody_closes_is_reset() {
    is_reset_at_last("age-reset", "max-connection-age", "age");
}

#[test]
fn what_was_quiet_for_long_and_nobody_closes_is_reset() {
    is_reset_at_last("idle-reset", "idle-timeout", "idle");
}

/// Shells and servers that fork hand sockets on: whoever has one now is found.
#[test]
fn a_socket_that_was_handed_on_is_ended_where_it_is() {
    let mut web = Web::start("handed-on", 1);
    web.change(|_| service(&[1], &[("idle-timeout", "1s")]), |shown| common::in_use(shown) == [1]);
    let script = format!("exec 3<>/dev/tcp/{VIP}/80; (exec cat <&3) & echo; exit 0");
    let mut command = web.client.command("bash");
    let mut shell = command.args(["-c", &script]).stdout(Stdio::null()).spawn().expect("bash");
    assert!(shell.wait().expect("its end").success(), "the shell has opened it and is gone");
    let held = listed(&web, &[]);
    assert_eq!((held.len(), &held[0]["command"]), (1, &Value::Null), "{held:#?}");
    // cat ends at the end of file.
    await_counts(&web, &[0], Duration::from_secs(6));
    assert_eq!(ended(&web, "idle", "gentle"), 1);
}

/// Whoever opened it is gone, and whoever has it is in the network namespace of another pod. The
/// second is opened after all processes were looked at for the first: it is not taken for one that
/// nobody has, and reset.
#[test]
fn sockets_that_were_handed_to_another_network_namespace_are_ended_there() {
    let mut web = Web::start("handed-out", 1);
    tell(&web, &[pod_object(201, None)]);
    let client = Client::start(&web, 201);
    let annotations = [("idle-timeout", "1s"), ("reset-after", "1h")];
    web.change(|_| service(&[1], &annotations), |shown| common::in_use(shown) == [1]);
    for handed in 1..=2 {
        let script =
            format!("exec 3<>/dev/tcp/{VIP}/80; (exec unshare --net cat <&3) & echo; exit 0");
        let mut command = client.pod.command("bash");
        let mut shell = command.args(["-c", &script]).stdout(Stdio::null()).spawn().expect("bash");
        assert!(shell.wait().expect("its end").success(), "the shell has opened it and is gone");
        await_counts(&web, &[0], Duration::from_secs(30));
        let all = (ended(&web, "idle", "gentle"), ended(&web, "idle", "reset"));
        assert_eq!(all, (handed, 0));
    }
}

#[test]
fn a_socket_of_a_process_whose_main_thread_has_ended_is_ended() {
    let mut web = Web::start("main-thread", 1);
    web.change(|_| service(&[1], &[("idle-timeout", "1s")]), |shown| common::in_use(shown) == [1]);
    let _held = Connections::open_without_main_thread(web.client.place(), (VIP, 80), 2);
    await_counts(&web, &[0], Duration::from_secs(10));
    assert_eq!(ended(&web, "idle", "gentle"), 2);
}

/// Neither side closes it.
#[test]
fn what_was_ended_and_nobody_closes_is_told() {
    let mut web = Web::start("told", 2);
    web.servers.clear();
    let silent = |n: usize| {
        let bind = || TcpListener::bind(web.backends[n].socket(8080));
        web.backends[n].place().within(bind).expect("entered").expect("bound")
    };
    let _silent = [silent(0), silent(1)];
    let _deaf = Connections::open(web.client.place(), (VIP, 80), 4);
    let first = web.backends[0].ip().to_string();
    let drain = ["drain", &first, "--timeout", "1s"];
    web.agent.cli(&drain).expect("drained");
    let deadline = Instant::now() + Duration::from_secs(10);
    let ended = loop {
        let all = listed(&web, &["--backend", &first]);
        if all.iter().all(|found| found["ended_ms"].is_u64()) {
            break all;
        }
        assert!(Instant::now() < deadline, "{all:#?}");
    };
    assert_eq!(ended.len(), 2, "{ended:#?}");
    let second = web.backends[1].ip().to_string();
    let others = listed(&web, &["--backend", &second]);
    assert!(others.iter().all(|found| found["ended_ms"].is_null()), "{others:#?}");
    let drains = web.agent.json(&["drain"]).expect("a list");
    assert_eq!((&drains[0]["connections"], &drains[0]["ended"]), (&json!(2), &json!(2)));
    let table = web.agent.cli(&["connections", "--backend", &first]).expect("a table");
    assert!(table.contains("ended "), "{table}");
}

/// Clients that rest for longer than `idle-timeout` before each of their requests but the first:
/// each of their connections is ended in each rest. Gives what failed, and the servers.
fn rests_too_long(name: &str, way: Way) -> (Vec<Said>, Vec<posts::Server>) {
    const CLIENTS: u64 = 6;
    const REQUESTS: u64 = 3;
    let mut web = Web::start(name, 1);
    let servers = serve_posts(&mut web, way, Duration::ZERO);
    web.change(|_| service(&[1], &[("idle-timeout", "1s")]), |shown| common::in_use(shown) == [1]);
    let clients = Posts::start(&web, way, CLIENTS, REQUESTS, Duration::from_millis(2_500));
    let said = clients.said();
    assert_eq!(said.len() as u64, CLIENTS * REQUESTS);
    let failed: Vec<_> = assert_told_right(&said, &servers).into_iter().cloned().collect();
    // Whose request failed has no connection in the rest that follows.
    let rests = CLIENTS * (REQUESTS - 1) - failed.len() as u64;
    assert_eq!(ended(&web, "idle", "gentle"), rests, "{failed:?}");
    (failed, servers)
}

#[test]
fn who_reads_while_it_rests_notices_nothing() {
    let (failed, servers) = rests_too_long("reads", Way::Reads);
    assert!(failed.is_empty(), "{failed:?}");
    let broken: Vec<_> = servers.iter().flat_map(posts::Server::broken).collect();
    assert_eq!(broken, Vec::<String>::new(), "the servers read an end of file");
}

/// What it sends must not reach the server, as nobody would read the answer.
#[test]
fn who_does_not_read_while_it_rests_is_told_before_anything_is_executed() {
    let (failed, _servers) = rests_too_long("rests", Way::Rests);
    assert_eq!(
        failed.len(),
        6,
        "each client is told once, and opens another connection: {failed:?}"
    );
    let broken_pipe =
        |said: &Said| said.error.as_deref().is_some_and(|e| e.contains("os error 32"));
    assert!(failed.iter().all(broken_pipe), "{failed:?}");
}

#[test]
fn who_repeats_what_failed_over_a_kept_connection_has_nothing_done_twice() {
    let (failed, _servers) = rests_too_long("repeats", Way::RestsAndRepeats);
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn who_sends_and_never_reads_is_told() {
    let (failed, _servers) = rests_too_long("sends-alone", Way::SendsAlone);
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn over_tls_nothing_is_executed_in_vain() {
    let (failed, _servers) = rests_too_long("tls-rests", Way::TlsRests);
    assert_eq!(failed.len(), 6, "each client is told once: {failed:?}");
    let broken_pipe =
        |said: &Said| said.error.as_deref().is_some_and(|e| e.contains("os error 32"));
    assert!(failed.iter().all(broken_pipe), "{failed:?}");
    let (failed, _servers) = rests_too_long("tls-reads", Way::TlsReads);
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn over_http2_nothing_is_executed_in_vain() {
    let (failed, _servers) = rests_too_long("http2", Way::Http2);
    assert!(failed.is_empty(), "{failed:?}");
}
