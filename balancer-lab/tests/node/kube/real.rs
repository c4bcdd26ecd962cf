//! What holds for every API server: run against the double, and against the cluster whose
//! kubeconfig `BALANCER_TEST_KUBECONFIG` names. There it makes a namespace of its own.

use std::{
    path::{Path, PathBuf},
    pin::pin,
    time::Duration,
};

use balancer_lab::apiserver::{ApiServer, Options};
use futures_util::StreamExt as _;
use k8s_openapi::api::{
    core::v1::{Event, Namespace, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;

use super::watching::Seen;

struct Clients {
    namespaces: Api<Namespace>,
    services: Api<Service>,
    slices: Api<EndpointSlice>,
    events: Api<Event>,
    namespace: String,
}

impl Clients {
    /// The agent's Event of the namespace, once there is one.
    async fn event(&self) -> Event {
        let watched = self.events.watch(&WatchParams::default(), "0").await.expect("a watch");
        let mut events = pin!(watched);
        let first = async {
            while let Some(event) = events.next().await {
                if let WatchEvent::Added(event) = event.expect("an event")
                    && event.source.as_ref().and_then(|s| s.component.as_deref())
                        == Some("balancer-agent")
                {
                    return event;
                }
            }
            panic!("the watch has ended")
        };
        tokio::time::timeout(Duration::from_secs(20), first).await.expect("an Event in time")
    }
}

async fn clients(kubeconfig: &Path) -> Clients {
    let file = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(file, &options).await.expect("usable");
    let client = Client::try_from(config).expect("a client");
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let wanted = serde_json::from_value(json!({"metadata": {"generateName": "balancer-test-"}}));
    let made = namespaces.create(&PostParams::default(), &wanted.expect("a namespace")).await;
    let namespace = made.expect("made").metadata.name.expect("a name");
    let services = Api::namespaced(client.clone(), &namespace);
    let slices = Api::namespaced(client.clone(), &namespace);
    let events = Api::namespaced(client, &namespace);
    Clients { namespaces, services, slices, events, namespace }
}

async fn follow(kubeconfig: PathBuf) {
    let clients = clients(&kubeconfig).await;
    let mut seen = Seen::open(&kubeconfig).await;
    seen.until("listed", |_| true).await;
    let id = |name: &str| balancer_agent::model::ObjectRef {
        namespace: clients.namespace.clone(),
        name: name.to_owned(),
    };

    let service = json!({"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}});
    let service = serde_json::from_value(service).expect("a Service");
    let made = clients.services.create(&PostParams::default(), &service).await.expect("made");
    let ip = made.spec.and_then(|spec| spec.cluster_ip).expect("an address was allocated");
    let state = seen.until("joined", |state| state.services.contains_key(&id("web"))).await;
    assert_eq!(state.services[&id("web")].cluster_ips[0].to_string(), ip);

    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 8080}],
        "endpoints": [{"addresses": ["10.1.2.3"]}, {"addresses": ["10.1.2.4"]}],
    });
    let apply = PatchParams::apply("balancer-test").force();
    clients.slices.patch("web-1", &apply, &Patch::Apply(&slice)).await.expect("applied");
    let count = |state: &balancer_agent::model::State| {
        state.slices.get(&id("web-1")).map(|slice| slice.endpoints.len())
    };
    seen.until("served", |state| count(state) == Some(2)).await;

    let merge = json!({"endpoints": [{"addresses": ["10.1.2.3"]}]});
    let how = PatchParams::default();
    clients.slices.patch("web-1", &how, &Patch::Merge(&merge)).await.expect("patched");
    seen.until("shrunk", |state| count(state) == Some(1)).await;
    let ports = json!({"spec": {"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "b"}]}});
    clients.services.patch("web", &how, &Patch::Strategic(&ports)).await.expect("patched");
    seen.until("with two ports", |state| state.services[&id("web")].ports.len() == 2).await;

    let bad = json!({"metadata": {"annotations": {"balancer-agent/policy": "banana"}}});
    clients.services.patch("web", &how, &Patch::Merge(&bad)).await.expect("patched");
    let told = |state: &balancer_agent::model::State| {
        state.problems.iter().any(|problem| problem.message.contains("banana"))
    };
    seen.until("told", told).await;
    let event = clients.event().await;
    assert_eq!(event.reason.as_deref(), Some("InvalidAnnotation"));
    assert_eq!(event.involved_object.name.as_deref(), Some("web"));
    assert!(event.involved_object.uid.is_some(), "kubectl describe looks for it: {event:?}");
    assert!(event.message.is_some_and(|message| message.contains("banana")));

    clients.slices.delete("web-1", &DeleteParams::default()).await.expect("deleted");
    seen.until("without endpoints", |state| count(state).is_none()).await;
    clients.namespaces.delete(&clients.namespace, &DeleteParams::default()).await.expect("deleted");
    seen.until("gone", |state| !state.services.contains_key(&id("web"))).await;
}

#[tokio::test]
async fn a_service_is_followed_from_its_creation_to_its_end() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = ApiServer::start(dir.path(), Options::default()).expect("a server");
    follow(server.kubeconfig()).await;
    if let Some(real) = std::env::var_os("BALANCER_TEST_KUBECONFIG") {
        follow(real.into()).await;
    }
}

#[tokio::test]
async fn pages_of_one_list_are_of_one_moment() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = ApiServer::start(dir.path(), Options::default()).expect("a server");
    let clients = clients(&server.kubeconfig()).await;
    let named = |name: &str| {
        let service = json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
        serde_json::from_value::<Service>(service).expect("a Service")
    };
    for name in ["a", "b", "c", "d"] {
        clients.services.create(&PostParams::default(), &named(name)).await.expect("made");
    }
    let params = ListParams::default().limit(3);
    let first = clients.services.list(&params).await.expect("a page");
    clients.services.delete("d", &DeleteParams::default()).await.expect("deleted");
    clients.services.create(&PostParams::default(), &named("e")).await.expect("made");
    let token = first.metadata.continue_.clone().expect("more");
    let second = clients.services.list(&params.continue_token(&token)).await.expect("a page");
    let names = |page: &kube::core::ObjectList<Service>| -> Vec<String> {
        page.items.iter().filter_map(|service| service.metadata.name.clone()).collect()
    };
    assert_eq!(
        (names(&first), names(&second)),
        (["a", "b", "c"].map(str::to_owned).to_vec(), vec!["d".to_owned()],)
    );
    assert_eq!(first.metadata.remaining_item_count, Some(1));
    assert_eq!(first.metadata.resource_version, second.metadata.resource_version);
    server.compact();
    let late = clients.services.list(&ListParams::default().limit(3).continue_token(&token)).await;
    assert!(matches!(&late, Err(kube::Error::Api(status)) if status.code == 410), "{late:?}");
}
