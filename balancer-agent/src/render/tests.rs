use super::*;
use crate::{
    doctor::{Finding, Outcome},
    testing,
    view::ServiceBackendView,
};

/// What a terminal without colours shows.
fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

fn rows() -> Vec<ServiceBackendView> {
    testing::services().into_iter().flat_map(ServiceBackendView::of).collect()
}

#[test]
fn services_as_a_table() {
    assert_eq!(
        plain(&services(&testing::services(), false)),
        "NAMESPACE   NAME     PORT       POLICY              ADDRESS      BACKENDS   CONNECTIONS\n\
         shop        cart     80/TCP     least-connections   10.96.0.10   1/2        9\n\
         shop        cart     9000/TCP   least-connections   10.96.0.10   1/1        0\n\
         default     search   443/TCP    least-connections   10.96.0.10   0/0        0\n"
    );
}

#[test]
fn services_have_more_columns_when_wide() {
    let text = plain(&services(&testing::services(), true));
    for line in [
        "PORT-NAME   OPENED   FAILED   AFFINITY   SLOW-START   SOURCES   ADDRESSES\n",
        "http        90       2        3h         -            -         ClusterIP=10.96.0.10:80\n",
        "-           0        0        -          -            -         ClusterIP=10.96.0.10:443\n",
    ] {
        assert!(text.contains(line), "{line:?} is missing from\n{text}");
    }
}

#[test]
fn backends_as_a_table_with_bars() {
    assert_eq!(
        plain(&backends(&rows(), false)),
        "NAMESPACE   SERVICE   PORT       BACKEND         STATE         CONNECTIONS                \
         OPENED\n\
         shop        cart      80/TCP     10.0.0.1:8080   ready         5             ██████████   \
         50\n\
         shop        cart      80/TCP     10.0.0.2:8080   terminating   4             ████████     \
         40\n\
         shop        cart      9000/TCP   10.0.0.1:8080   ready         0                          \
         0\n"
    );
    let wide = plain(&backends(&rows(), true));
    assert!(wide.contains("FAILED   SUSPECTED   WEIGHT   NODE       ZONE   PORT-NAME\n"), "{wide}");
    assert!(wide.contains("1        0           -        worker-1   -      http\n"), "{wide}");
    assert!(wide.contains("1        0           2        worker-2   -      http\n"), "{wide}");
}

#[test]
fn status_tells_agent_programs_capacity_and_problems() {
    let text = plain(&status(&testing::status(), true));
    for line in [
        "Agent:       ready, version 0.1.0, pid 4321, up 62m\n",
        "Node:        worker-1\n",
        "Balancing:   works: seen by a connection of the agent's own; put back 2 times\n",
        "connect4   yes        71   a1b2\n",
        "sockops    no         -    -\n",
        "backends   250000   262144   95%\n",
        "balanced   12345\n",
        "shop/cart-0   sandboxed   kata\n",
        "shop.yaml, document 2   spec.ports[0].port   70000 is no port\n",
    ] {
        assert!(text.contains(line), "{line:?} is missing from\n{text}");
    }
}

#[test]
fn without_an_agent_the_status_says_what_is_unknown() {
    let mut view = testing::status();
    view.agent = None;
    view.cgroup = None;
    let text = plain(&status(&view, false));
    assert!(text.contains("Agent:       not reachable\nNode:        unknown\n"), "{text}");
    assert!(text.contains("Cgroup:      nothing is attached\n"), "{text}");
}

#[test]
fn the_doctor_prints_remedies_below() {
    let finding = |check: &str, result, remedy: Option<&str>| Finding {
        check: check.into(),
        result,
        detail: "detail".into(),
        remedy: remedy.map(str::to_owned),
    };
    let findings =
        [finding("btf", Outcome::Ok, None), finding("bpffs", Outcome::Fail, Some("mount it"))];
    assert_eq!(
        plain(&doctor(&findings)),
        "CHECK   RESULT   DETAIL\n\
         btf     ok       detail\n\
         bpffs   fail     detail\n\
         \nWhat to do:\n  bpffs: mount it\n"
    );
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let mut view = testing::status();
    view.problems[0].message = "a\u{1b}[2Jb\nc".into();
    let text = plain(&status(&view, false));
    assert!(text.contains("a [2Jb c\n"), "{text}");
}

#[test]
fn json_and_yaml_have_the_same_fields() {
    let json = text(Output::Json, &rows(), |_, _| String::new()).expect("JSON");
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON that can be read");
    let yaml = text(Output::Yaml, &rows(), |_, _| String::new()).expect("YAML");
    let yaml: serde_json::Value = serde_norway::from_str(&yaml).expect("YAML that can be read");
    assert_eq!(json, yaml);
    assert_eq!(
        json[0],
        serde_json::json!({
            "namespace": "shop",
            "service": "cart",
            "service_port": {"name": "http", "number": 80, "protocol": "TCP"},
            "address": "10.0.0.1",
            "port": 8080,
            "node": "worker-1",
            "zone": null,
            "state": "ready",
            "weight": 1,
            "active": 5,
            "opened_total": 50,
            "failed_total": 1,
            "suspected_total": 0,
        })
    );
}
