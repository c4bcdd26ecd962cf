use serde_json::{Value, json};

use super::*;
use crate::{
    model::Parts,
    source::kube::decode::{decode, identify},
};

/// Everything has been listed, and nothing is there but the Node.
fn settled() -> Store {
    let kinds = [Kind::Service, Kind::EndpointSlice, Kind::Node, Kind::Pod, Kind::Namespace];
    let mut store = Store::new("https://api".into(), "n", None, kinds.into_iter());
    for kind in kinds {
        assert!(matches!(store.update(), Update::Waiting(..)), "before {kind:?} is listed");
        store.take(Told::Begins(kind));
        if kind == Kind::Node {
            store.take(is(Kind::Node, &node()));
        }
        store.take(Told::Complete(kind));
    }
    assert_eq!(changes(&mut store), Changes::All);
    store
}

fn changes(store: &mut Store) -> Changes {
    match store.update() {
        Update::State(state) => state.changes.clone(),
        Update::Waiting(problems, kinds) => panic!("it waits for {kinds:?}: {problems:?}"),
    }
}

fn is(kind: Kind, object: &Value) -> Told {
    Told::Is(Box::new(decode(kind, &object.to_string()).unwrap()))
}

fn gone(kind: Kind, object: &Value) -> Told {
    Told::Gone(identify(kind, &object.to_string()).unwrap().0)
}

fn node() -> Value {
    json!({"metadata": {"name": "n"}})
}

fn service(name: &str) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"clusterIP": "10.96.0.1", "ports": [{"port": 80}]},
    })
}

fn slice(name: &str, service: &str, address: &str) -> Value {
    json!({
        "metadata": {
            "namespace": "shop",
            "name": name,
            "labels": {"kubernetes.io/service-name": service},
            "annotations": {
                "endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:00Z",
            },
        },
        "addressType": "IPv4",
        "ports": [{"port": 8080}],
        "endpoints": [{"addresses": [address], "nodeName": "n1", "zone": "a"}],
    })
}

fn parts(services: &[&str], endpoints: &[&str]) -> Changes {
    let ids = |names: &[&str]| {
        let id = |name: &&str| ObjectRef { namespace: "shop".into(), name: (*name).to_owned() };
        names.iter().map(id).collect()
    };
    Changes::Some(Parts { services: ids(services), endpoints: ids(endpoints), ..Parts::default() })
}

fn endpoints(services: &[&str]) -> Changes {
    parts(&[], services)
}

#[test]
fn the_service_of_the_agents_is_kept_and_no_other_headless_one() {
    let peers = ObjectRef { namespace: "shop".into(), name: "peers".into() };
    let kinds = [Kind::Service, Kind::PeerSlice];
    let mut store = Store::new("https://api".into(), "n", Some(peers.clone()), kinds.into_iter());
    let headless = |name: &str| {
        let mut service = service(name);
        service["spec"]["clusterIP"] = "None".into();
        service
    };
    let labelled = |namespace: &str, address: &str| {
        let mut slice = slice("peers-1", "peers", address);
        slice["metadata"]["namespace"] = namespace.into();
        slice["metadata"]["labels"]["service.kubernetes.io/headless"] = "".into();
        slice
    };
    for told in [
        Told::Begins(Kind::Service),
        is(Kind::Service, &headless("peers")),
        is(Kind::Service, &headless("db")),
        Told::Complete(Kind::Service),
        Told::Begins(Kind::PeerSlice),
        is(Kind::PeerSlice, &labelled("shop", "192.0.2.1")),
        is(Kind::PeerSlice, &labelled("other", "192.0.2.9")),
        Told::Complete(Kind::PeerSlice),
    ] {
        store.take(told);
    }
    let headless_of = |store: &mut Store| match store.update() {
        Update::State(state) => (state.headless.clone(), state.changes.clone()),
        Update::Waiting(problems, kinds) => panic!("it waits for {kinds:?}: {problems:?}"),
    };
    let (found, _) = headless_of(&mut store);
    assert_eq!(found.services, [peers.clone()].into());
    assert_eq!(found.slices.len(), 1);
    let addresses: Vec<_> = found.slices.of(&peers).map(|s| s.endpoints[0].address).collect();
    assert_eq!(addresses, ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()]);
    // Nothing else differs with them.
    let alone = Changes::Some(Parts { headless: true, ..Parts::default() });
    store.take(is(Kind::PeerSlice, &labelled("shop", "192.0.2.2")));
    assert!(store.has_news());
    assert_eq!(headless_of(&mut store).1, alone);
    store.take(gone(Kind::PeerSlice, &labelled("shop", "192.0.2.2")));
    store.take(gone(Kind::Service, &headless("peers")));
    let (found, changes) = headless_of(&mut store);
    assert_eq!((found, changes), (crate::model::Headless::default(), alone));
}

#[test]
fn a_change_names_its_service_alone() {
    let mut store = settled();
    store.take(is(Kind::Service, &service("web")));
    assert_eq!(changes(&mut store), parts(&["web"], &[]));
    let web = slice("web-1", "web", "10.0.0.1");
    store.take(is(Kind::EndpointSlice, &web));
    assert!(store.has_news());
    assert_eq!(changes(&mut store), endpoints(&["web"]));
    store.take(is(Kind::EndpointSlice, &web));
    assert!(!store.has_news(), "the same again");
    store.take(is(Kind::EndpointSlice, &slice("web-1", "api", "10.0.0.1")));
    store.take(is(Kind::EndpointSlice, &slice("db-1", "db", "10.0.0.2")));
    assert_eq!(changes(&mut store), endpoints(&["api", "db", "web"]), "it has left one");
    store.take(gone(Kind::EndpointSlice, &web));
    assert_eq!(changes(&mut store), endpoints(&["api"]));
    store.take(gone(Kind::EndpointSlice, &web));
    assert!(!store.has_news(), "gone already");
    store.take(gone(Kind::Service, &service("web")));
    store.take(is(Kind::EndpointSlice, &slice("db-1", "db", "10.0.0.3")));
    assert_eq!(changes(&mut store), parts(&["web"], &["db"]));
    assert_eq!(changes(&mut store), Changes::NONE, "all of it was given");
}

#[test]
fn pods_and_namespaces_change_no_service() {
    let mut store = settled();
    let labels = json!({"balancer-agent/enabled": "false"});
    let namespace = json!({"metadata": {"name": "shop", "labels": labels}});
    let pods = Changes::Some(Parts { pods: true, ..Parts::default() });
    store.take(is(Kind::Namespace, &namespace));
    assert_eq!(changes(&mut store), pods);
    store.take(gone(Kind::Namespace, &namespace));
    assert_eq!(changes(&mut store), pods);
}

#[test]
fn what_a_complete_list_does_not_name_is_gone() {
    let mut store = settled();
    for name in ["a", "b"] {
        store.take(is(Kind::EndpointSlice, &slice(name, name, "10.0.0.1")));
    }
    changes(&mut store);
    store.take(Told::Begins(Kind::EndpointSlice));
    store.take(is(Kind::EndpointSlice, &slice("b", "b", "10.0.0.1")));
    assert!(!store.has_news(), "nothing is pruned before the list is complete");
    store.take(Told::Complete(Kind::EndpointSlice));
    assert_eq!(changes(&mut store), endpoints(&["a"]));
}

#[test]
fn what_is_absurd_keeps_what_was_understood() {
    let mut store = settled();
    let web = service("web");
    store.take(is(Kind::Service, &web));
    changes(&mut store);
    let mut absurd = web.clone();
    absurd["spec"]["ports"] = json!("many");
    store.take(is(Kind::Service, &absurd));
    assert!(store.has_news(), "it is told");
    let Update::State(state) = store.update() else { panic!("a state") };
    assert_eq!((state.services.len(), state.problems.len(), state.missing), (1, 1, false));
    assert_eq!(state.changes, Changes::NONE);
    store.take(is(Kind::Service, &{
        absurd["metadata"]["name"] = json!("new");
        absurd
    }));
    let Update::State(state) = store.update() else { panic!("a state") };
    assert!(state.missing, "an earlier agent may have known it");
    assert_eq!(state.changes, Changes::All);
    store.take(gone(Kind::Service, &json!({"metadata": {"namespace": "shop", "name": "new"}})));
    let Update::State(state) = store.update() else { panic!("a state") };
    assert!(!state.missing);
}

#[test]
fn triggers_are_those_of_changes_after_the_first_state() {
    let mut store = settled();
    let web = slice("web-1", "web", "10.0.0.1");
    store.take(is(Kind::EndpointSlice, &web));
    let Update::State(state) = store.update() else { panic!("a state") };
    assert_eq!(state.triggers.len(), 1);
    store.take(is(Kind::EndpointSlice, &slice("web-1", "web", "10.0.0.2")));
    let Update::State(state) = store.update() else { panic!("a state") };
    assert_eq!(state.triggers.len(), 0, "another change for the same reason");
}

#[test]
fn a_node_without_an_object_and_one_that_goes_are_told() {
    let mut store = settled();
    let problems = |store: &mut Store| match store.update() {
        Update::State(state) => state.problems.clone(),
        Update::Waiting(..) => panic!("everything was listed"),
    };
    assert_eq!(problems(&mut store), []);
    store.take(gone(Kind::Node, &node()));
    assert!(store.has_news());
    let told = problems(&mut store);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].object, "Node n");
    assert!(told[0].message.contains("there is no such Node"), "{told:?}");
    store.take(is(Kind::Node, &node()));
    assert_eq!(problems(&mut store), [], "it is back, bare as it is");
    store.take(Told::Begins(Kind::Node));
    store.take(Told::Complete(Kind::Node));
    assert_eq!(problems(&mut store), told, "a list does not name it");
    store.take(is(Kind::Node, &json!({"metadata": {"name": "n"}, "spec": "absurd"})));
    let told = problems(&mut store);
    assert!(told.len() == 1 && told[0].field == "spec", "it is there: {told:?}");
}
