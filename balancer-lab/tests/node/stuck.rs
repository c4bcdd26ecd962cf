//! Pods that hold up who touches their sockets: their own connections are left alone, and nobody else
//! waits.

use std::time::{Duration, Instant};

use crate::common::{
    Connections, VIP, Web,
    clients::{Client, pod_object, tell},
    connections::listed,
    ends::{await_idle_ended, end_what_is_idle, not_ended, touching},
};
use serde_json::Value;

/// What the descriptors of a process are.
fn descriptors(process: u32) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{process}/fd")).expect("it runs").flatten();
    let target = |entry: std::fs::DirEntry| std::fs::read_link(entry.path()).ok();
    entries.filter_map(target).map(|path| path.display().to_string()).collect()
}

/// A pod holds the locks of its sockets: whoever looks at them does not come back.
#[test]
fn a_pod_that_holds_its_sockets_holds_up_nobody_else() {
    let mut web = Web::start("held", 2);
    tell(&web, &[pod_object(201, None)]);
    let hostile = Client::start(&web, 201);
    let _held = Connections::open_held(hostile.pod.place(), (VIP, 80), 5);
    let others = Connections::open(web.client.place(), (VIP, 80), 6);
    end_what_is_idle(&mut web);
    await_idle_ended(&web, 6);
    drop(others);
    // One was met; its pod is left alone from then on.
    assert_eq!(not_ended(&web, "idle", "stuck"), 1);
    let status = web.agent.json(&["status"]).expect("status");
    let is_told = |problem: &Value| {
        let said = problem["message"].as_str().unwrap_or_default();
        let object = problem["object"].as_str().unwrap_or_default();
        object.starts_with("connection 10.244.0.201:")
            && said.contains("Service default/web")
            && said.contains("pod default/client-201")
            && said.contains("(balancer-lab)")
    };
    let problems = status["problems"].as_array().expect("problems");
    assert!(problems.iter().any(is_told), "{problems:#?}");
    let log = web.agent.log().expect("a log");
    assert!(log.contains("connections of the same pod are left alone"), "{log}");

    // Who asks for them is told what is known without.
    let asked = Instant::now();
    let shown = listed(&web, &["--pod", "client-201"]);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert_eq!(shown.len(), 5);
    assert!(shown.iter().all(|found| found["activity"].is_null()), "{shown:#?}");

    // What still waits has nothing of the agent's.
    let agent = web.agent.pid().expect("it runs");
    let stuck = touching(agent);
    assert!(!stuck.is_empty());
    let own = descriptors(agent);
    for process in &stuck {
        for shared in descriptors(*process) {
            assert!(shared == "/dev/null" || !own.contains(&shared), "{shared} of {process}");
            assert!(!shared.contains("bpf"), "{shared}");
        }
    }
    let asked = Instant::now();
    assert!(web.agent.terminate().expect("ended").success());
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    let still = |pid: &u32| std::path::Path::new(&format!("/proc/{pid}")).exists();
    assert!(stuck.iter().any(still), "one waits for the pod as before");
    web.agent.resume().expect("the next agent starts");
    let next = Connections::open(web.client.place(), (VIP, 80), 2);
    await_idle_ended(&web, 2);
    drop(next);
    // With a pass that waits for the pod at this moment.
    assert!(web.agent.kill().is_ok());
    web.agent.resume().expect("the next agent starts");
}
