use std::collections::BTreeSet;

use super::*;
use crate::{
    doctor::{Finding, Outcome},
    model::{Reason, Way},
    testing,
    view::{
        ConnectionView, CountsView, DrainView, EndView, MoveView, NodeDrainView, NodeMoveView,
        PeerView, RebalanceView, ServiceBackendView, ServiceView, ShareView, StatusView, WaitView,
    },
};

/// What a terminal without colours shows.
fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

fn services(rows: &[ServiceView], wide: bool) -> String {
    ServiceView::sheet(rows, wide).draw(true)
}

fn peers(rows: &[PeerView], wide: bool) -> String {
    PeerView::sheet(rows, wide).draw(true)
}

fn backends(rows: &[ServiceBackendView], wide: bool) -> String {
    ServiceBackendView::sheet(rows, wide).draw(true)
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
fn what_all_nodes_have_stands_beside_what_this_one_has() {
    let mut known = testing::services();
    for backend in &mut known[0].backends {
        backend.cluster_active = Some(u64::from(backend.active) + 7);
    }
    let text = plain(&services(&known, false));
    for line in ["CONNECTIONS   CLUSTER\n", "9             23\n", "0             -\n"] {
        assert!(text.contains(line), "{line:?} is missing from\n{text}");
    }
    let rows: Vec<_> = known.into_iter().flat_map(ServiceBackendView::of).collect();
    let text = plain(&backends(&rows, false));
    for line in ["CLUSTER   OPENED\n", "██████████   12        50\n", "-         0\n"]
    {
        assert!(text.contains(line), "{line:?} is missing from\n{text}");
    }
}

/// Every column of the widest table can be sorted by, and nothing else can.
#[track_caller]
fn columns_are_those_of_the_table<T: Listed>(rows: &[T]) {
    let text = plain(&T::sheet(rows, true).draw(true));
    let shown: Vec<_> = text.lines().next().expect("a header").split_whitespace().collect();
    let named: Vec<_> = T::COLUMNS.iter().map(|(name, _)| name.to_uppercase()).collect();
    assert_eq!(shown, named);
}

#[test]
fn columns_have_the_names_of_the_header() {
    let mut known = testing::services();
    for backend in known.iter_mut().flat_map(|service| &mut service.backends) {
        backend.cluster_active = Some(1);
    }
    columns_are_those_of_the_table(&known);
    let rows: Vec<_> = known.into_iter().flat_map(ServiceBackendView::of).collect();
    columns_are_those_of_the_table(&rows);
    columns_are_those_of_the_table(&testing::connections());
}

#[test]
fn rows_are_sorted_by_a_column() {
    let sorted = |column: &str| {
        let mut rows = rows();
        sort(&mut rows, column);
        let found = rows.iter().map(|row| (row.service_port.number, row.backend.active));
        found.collect::<Vec<_>>()
    };
    assert_eq!(sorted("connections"), [(9000, 0), (80, 4), (80, 5)]);
    assert_eq!(sorted("Backend"), [(80, 5), (9000, 0), (80, 4)], "equal ones keep their order");
    assert_eq!(sorted("zone"), [(80, 5), (80, 4), (9000, 0)]);
    let mut open = testing::connections();
    open.reverse();
    sort(&mut open, "idle");
    assert!(open[0].activity.is_some() && open[1].activity.is_none(), "absent values come last");
}

#[test]
fn bars_compare_one_service_port_in_any_order() {
    let mut rows = rows();
    sort(&mut rows, "backend");
    let text = plain(&backends(&rows, false));
    assert!(text.contains("terminating   4             ████████     40"), "{text}");
}

#[test]
fn a_table_without_its_header_is_its_rows() {
    let sheet = |rows: &[ServiceView]| plain(&ServiceView::sheet(rows, false).draw(false));
    let first = "shop      cart     80/TCP     least-connections   10.96.0.10   1/2   9\n";
    assert!(sheet(&testing::services()).starts_with(first));
    assert_eq!(sheet(&[]), "");
}

#[test]
fn a_connection_from_outside_has_neither_pod_nor_process() {
    let shown =
        |wide| plain(&ConnectionView::sheet(&testing::connections()[2..], wide).draw(false));
    let row =
        "shop   web   80/TCP   10.0.0.1:8080   198.51.100.7:40000   (outside)   2d7h   -   open";
    assert_eq!(shown(false), format!("{row}\n"));
    assert_eq!(shown(true), format!("{row}   -   -   -   -\n"));
}

#[test]
fn peers_as_a_table() {
    let table = "NODE       ADDRESS           HEARD       AGE    SENT   RECEIVED   REJECTED   STEWARD-OF\n\
         worker-1   192.0.2.1:10357   this node   -      120    118        0          3\n\
         worker-2   192.0.2.2:10357   yes         0.2s   120    118        0          3\n\
         worker-3   192.0.2.3:10357   never       -      120    118        9          3\n";
    assert_eq!(plain(&peers(&testing::peers(), false)), table);
    let wide = plain(&peers(&testing::peers(), true));
    assert!(wide.contains("12         2, refused\n"), "{wide}");
}

#[test]
fn status_tells_whose_connections_are_counted() {
    let told = |counts: CountsView| {
        let text = plain(&status(&StatusView { counts: Some(counts), ..testing::status() }, false));
        let line = text.lines().find(|line| line.starts_with("Counts:")).map(str::to_owned);
        line.expect("a line")
    };
    let all = testing::status().counts.expect("counts");
    assert_eq!(told(all.clone()), "Counts:      of 7 nodes, 0.2s old");
    assert_eq!(told(CountsView { members: 9, ..all }), "Counts:      of 7 of 9 nodes, 0.2s old");
    let alone = told(CountsView::alone("no peer key"));
    assert_eq!(alone, "Counts:      of this node alone: no peer key");
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
        "Events:      3 in 5 minutes; 5s ago: Service shop/stock: port 80/TCP: not ready 10.0.0.1:80\n",
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
fn what_can_not_be_read_is_unknown_and_not_nothing() {
    let mut view = testing::status();
    view.connections = None;
    view.cgroup = None;
    view.programs[1].unreadable = Some("Permission denied".into());
    let text = plain(&status(&view, false));
    for line in ["Connections: unknown\n", "Cgroup:      unknown\n", "sockops    unknown\n"] {
        assert!(text.contains(line), "{line:?} is missing from\n{text}");
    }
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
    let yaml: serde_json::Value = serde_saphyr::from_str(&yaml).expect("YAML that can be read");
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
            "cluster_active": null,
            "opened_total": 50,
            "failed_total": 1,
            "suspected_total": 0,
            "drained_by": null,
        })
    );
}

/// The names of all fields of a value, however deep.
fn fields(value: &serde_json::Value) -> BTreeSet<String> {
    match value {
        serde_json::Value::Object(object) => object
            .iter()
            .flat_map(|(name, value)| fields(value).into_iter().chain([name.clone()]))
            .collect(),
        serde_json::Value::Array(values) => values.iter().flat_map(fields).collect(),
        _ => BTreeSet::new(),
    }
}

#[test]
fn moves_of_all_nodes_name_node_and_reason() {
    let service_port = testing::services().remove(0).port;
    let backend = |last| EndView { address: [10, 0, 0, last].into(), port: 80 };
    let share = |last, connections, target| ShareView {
        service_port: service_port.clone(),
        backend: backend(last),
        connections,
        target,
    };
    let moves = |node: &str, connections| NodeMoveView {
        service_port: service_port.clone(),
        node: node.into(),
        from: backend(1),
        to: backend(2),
        connections,
    };
    let view = RebalanceView {
        nodes: 20,
        backends: vec![share(1, 20, 10), share(2, 0, 10)],
        node_moves: Some(vec![moves("worker-1", 7), moves("worker-2", 3)]),
        ..RebalanceView::default()
    };
    let text = rebalance(&view, false);
    for line in [
        "worker-1   7       10.0.0.1:80   10.0.0.2:80   10 too many, 10 missing",
        "worker-2   3       10.0.0.1:80   10.0.0.2:80   10 too many, 10 missing",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn every_field_that_programs_can_read_is_documented() {
    let docs = include_str!("../../../docs/operations.md");
    let (_, section) = docs.split_once("\n## Output for programs\n").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("its end");
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let documented: BTreeSet<&str> = section.split(|c| !is_word(c)).collect();
    let service_port = testing::services().remove(0).port;
    let backend = EndView { address: [10, 0, 0, 1].into(), port: 80 };
    let rebalance = RebalanceView {
        nodes: 1,
        backends: vec![ShareView {
            service_port: service_port.clone(),
            backend,
            connections: 1,
            target: 1,
        }],
        moves: vec![MoveView {
            service_port: service_port.clone(),
            backend,
            client: backend,
            pid: 1,
            reason: Reason::Rebalance,
            way: Way::Gentle,
            idle_ms: 0,
        }],
        node_moves: Some(vec![NodeMoveView {
            service_port: service_port.clone(),
            node: "worker-2".into(),
            from: backend,
            to: backend,
            connections: 1,
        }]),
        waiting: vec![WaitView { service_port, connections: 1, quiet_ms: 0 }],
        busy: 0,
    };
    let drain = DrainView {
        backend,
        services: Vec::new(),
        timeout_s: 1,
        elapsed_s: 1,
        connections: 1,
        ended: 1,
        by: Some("worker-1".into()),
        nodes: vec![NodeDrainView {
            node: "worker-1".into(),
            connections: Some(1),
            ended: 0,
            busy: 1,
            resting: 0,
            refused: false,
            told_ms: Some(1),
        }],
    };
    let shown = [
        serde_json::to_value(testing::status()),
        serde_json::to_value(testing::services()),
        serde_json::to_value(rows()),
        serde_json::to_value(testing::connections()),
        serde_json::to_value(testing::peers()),
        serde_json::to_value(rebalance),
        serde_json::to_value(drain),
    ];
    for value in shown {
        let fields = fields(&value.expect("JSON"));
        let missing: Vec<_> =
            fields.iter().filter(|field| !documented.contains(field.as_str())).collect();
        assert_eq!(missing, [""; 0], "missing in docs/operations.md");
    }
}
