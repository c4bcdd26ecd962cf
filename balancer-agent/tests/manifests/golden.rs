//! Each folder of `cases` gives what its `want.txt` says.

use std::{env, fmt::Write, fs, path::Path};

use balancer_agent::{
    model::{State, TrafficPolicy},
    source::Manifests,
};
use balancer_common::policy::Policy;

#[test]
fn every_case_gives_what_it_says() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests/cases");
    let mut seen = 0;
    for case in fs::read_dir(&cases).unwrap() {
        let dir = case.unwrap().path();
        let state = Manifests::read_once(&dir, Some("n")).unwrap();
        let got = render(&state);
        let want = dir.join("want.txt");
        if env::var_os("BLESS").is_some() {
            fs::write(&want, &got).unwrap();
        }
        let want = fs::read_to_string(&want).unwrap_or_default();
        assert!(got == want, "{}:\n--- want\n{want}\n--- got\n{got}", dir.display());
        seen += 1;
    }
    assert!(seen >= 10, "only {seen} cases in {}", cases.display());
}

fn render(state: &State) -> String {
    let mut text = String::new();
    for service in state.services.values() {
        write!(text, "service {}:", service.id).unwrap();
        for ip in &service.cluster_ips {
            write!(text, " {ip}").unwrap();
        }
        for (kind, ips) in
            [("external", &service.external_ips), ("balancer", &service.load_balancer_ips)]
        {
            for ip in ips {
                write!(text, " {kind}={ip}").unwrap();
            }
        }
        for range in &service.source_ranges {
            write!(text, " from={range}").unwrap();
        }
        if service.internal_traffic_policy == TrafficPolicy::Local {
            text.push_str(" local");
        }
        if let Some(port) = service.health_check_node_port {
            write!(text, " health-port={port}").unwrap();
        }
        if let Some(seconds) = service.session_affinity {
            write!(text, " affinity={seconds}s").unwrap();
        }
        let tuning = &service.tuning;
        if tuning.policy != Policy::default() {
            write!(text, " {}", tuning.policy.name()).unwrap();
        }
        for rule in &tuning.weights {
            write!(text, " {:?}={}", rule.selector, rule.weight).unwrap();
        }
        if tuning.slow_start > 0 {
            write!(text, " slow-start={}s", tuning.slow_start).unwrap();
        }
        for port in &service.ports {
            write!(text, " {:?}={}/{}", port.name, port.port, port.protocol).unwrap();
            if let Some(number) = port.node_port {
                write!(text, " node-port={number}").unwrap();
            }
        }
        text.push('\n');
    }
    for slice in state.slices.values() {
        write!(text, "slice {} of {}:", slice.id, slice.service).unwrap();
        for port in &slice.ports {
            write!(text, " {:?}={}/{}", port.name, port.port, port.protocol).unwrap();
        }
        text.push('\n');
        for endpoint in &slice.endpoints {
            write!(text, "  {}", endpoint.address).unwrap();
            let conditions = [
                ("ready", endpoint.ready),
                ("serving", endpoint.serving),
                ("terminating", endpoint.terminating),
            ];
            for (name, _) in conditions.iter().filter(|(_, set)| *set) {
                write!(text, " {name}").unwrap();
            }
            let pod = endpoint.pod.as_ref().map(|pod| pod.to_string().into());
            for (name, value) in
                [("node", &endpoint.place.node), ("zone", &endpoint.place.zone), ("pod", &pod)]
            {
                if let Some(value) = value {
                    write!(text, " {name}={value}").unwrap();
                }
            }
            let hints = endpoint.hints.clone().unwrap_or_default();
            for (name, hints) in [("for-node", &hints.nodes), ("for-zone", &hints.zones)] {
                for hint in hints {
                    write!(text, " {name}={hint}").unwrap();
                }
            }
            text.push('\n');
        }
    }
    if let Some(node) = state.node.as_ref().filter(|node| !node.addresses.is_empty()) {
        let zone = node.zone.as_deref().unwrap_or("none");
        let leaving = if node.leaving { " leaving" } else { "" };
        writeln!(text, "node {} in zone {zone}: {:?}{leaving}", node.name, node.addresses).unwrap();
    }
    for pod in state.pods.values() {
        write!(text, "pod {} {}: {:?}", pod.id, pod.uid, pod.addresses).unwrap();
        for (word, set) in [
            ("host-network", pod.host_network),
            ("enabled", pod.enabled == Some(true)),
            ("disabled", pod.enabled == Some(false)),
        ] {
            if set {
                write!(text, " {word}").unwrap();
            }
        }
        if let Some(class) = &pod.runtime_class {
            write!(text, " runtime-class={class}").unwrap();
        }
        text.push('\n');
    }
    for namespace in state.namespaces.values() {
        writeln!(text, "namespace {}: enabled={:?}", namespace.name, namespace.enabled).unwrap();
    }
    for problem in &state.problems {
        writeln!(text, "{problem}").unwrap();
    }
    text
}
