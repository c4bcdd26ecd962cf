//! Alerts whose causes are the API server, other nodes, and what holds the agent up.

use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use balancer_lab::{Agent, Lab, Pod, apiserver::Process, manifests::Service};
use jiff::Timestamp;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::{Value, json};

use super::prometheus::{self, METRICS, Prometheus};
use crate::common::{VIP, address, await_shown, serve};

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const PEERS: &str = "balancer-agent-peers";
/// The node of the lab, and an address at which its agent could be reached.
const OWN: (&str, &str) = ("lab-node", "192.0.2.1");

/// The slice of the agents of these nodes. At the address of the other one nobody answers.
fn peers(nodes: &[(&str, &str)]) -> Value {
    let endpoint =
        |(name, address): &(&str, &str)| json!({"addresses": [address], "nodeName": name});
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": PEERS,
            "namespace": "kube-system",
            "labels": {
                "kubernetes.io/service-name": PEERS,
                "service.kubernetes.io/headless": "",
            },
        },
        "addressType": "IPv4",
        "endpoints": nodes.iter().map(endpoint).collect::<Vec<_>>(),
        "ports": [{"name": "peers", "port": 10_358, "protocol": "UDP"}],
    })
}

/// The slice of a Service, as changed by what happened so long ago.
fn changed(service: &Service, ago: Duration) -> Value {
    let mut slice = service.endpoint_slice();
    let at = Timestamp::now() - ago;
    slice["metadata"]["annotations"]["endpoints.kubernetes.io/last-change-trigger-time"] =
        json!(at.to_string());
    slice
}

/// Connections of a pod that no process has: they are under way in the queue of a socket.
fn in_flight(pod: &Pod, count: usize) -> Child {
    let script = format!(
        "import array, socket, sys\n\
         left, right = socket.socketpair()\n\
         for _ in range({count}):\n    \
             held = socket.create_connection((\"{VIP}\", 80))\n    \
             rights = array.array(\"i\", [held.fileno()])\n    \
             left.sendmsg([b\"x\"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])\n    \
             held.close()\n\
         print(flush=True)\n\
         sys.stdin.read()\n"
    );
    let mut command = pod.command("python3");
    command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::null());
    command.spawn().expect("python3")
}

#[test]
fn alerts_follow_the_api_server_the_peers_and_what_is_in_the_way() {
    if !prometheus::is_there() {
        return;
    }
    let lab = Lab::create("alerted").expect("a lab");
    let client = lab.pod("client", address(200)).expect("a pod");
    let backend = lab.pod("web-1", address(1)).expect("a pod");
    let _server = serve(&backend);
    let listen = SocketAddr::from((Ipv4Addr::new(172, 18, 0, 1), 6443));
    let api = Process::start(lab.outside(), &lab.state_dir().join("api"), listen).expect("started");
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "lab-node"}});
    let web = Service::new("web", VIP, 80, 8080, [backend.ip()]);
    let agents = Service { namespace: "kube-system".into(), ..Service::headless(PEERS).udp() };
    let objects = [web.service(), web.endpoint_slice(), node, agents.service(), peers(&[OWN])];
    api.put(&objects).expect("put");
    let key = lab.state_dir().join("key");
    fs::write(&key, KEY).expect("written");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).expect("a mode");
    let (key, service) = (key.display().to_string(), format!("kube-system/{PEERS}"));
    let flags = ["--metrics-bind-address", METRICS, "--peers", &service, "--peer-key", &key];
    let agent = Agent::start_watching(&lab, &api.kubeconfig(), &flags).expect("an agent");
    await_shown(&agent, |all| all.len() == 1);
    let prometheus = Prometheus::start(&lab);
    // Something is heard, of a change that is new.
    let hears = || api.put(&[changed(&web, Duration::ZERO)]).expect("put");
    let put = |object: Value| api.put(&[object]).expect("put");
    prometheus.until("BalancerSourceStale", false, hears);
    prometheus.until("BalancerDown", false, hears);

    prometheus.until("BalancerSourceStale", true, || ());
    prometheus.until("BalancerSourceStale", false, hears);

    prometheus.until("BalancerProgrammingSlow", true, || {
        put(changed(&web, Duration::from_secs(60)));
    });
    prometheus.until("BalancerProgrammingSlow", false, hears);

    let silent = || put(peers(&[OWN, ("other-node", "192.0.2.2")]));
    prometheus.follows("BalancerPeersSilent", silent, || put(peers(&[OWN])));

    let bpffs = lab.bpffs();
    let mounted = || {
        let nothing = None::<&str>;
        mount(Some("bpf"), &bpffs, Some("bpf"), MsFlags::empty(), nothing).expect("mounted");
    };
    let unmounted = || umount2(&bpffs, MntFlags::MNT_DETACH).expect("unmounted");
    prometheus.follows("BalancerNotBalancing", unmounted, mounted);

    let (mut held, begun) = (Vec::new(), Instant::now());
    let annotated = web.clone().annotated("balancer-agent/idle-timeout", "1s");
    put(annotated.service());
    prometheus.until("BalancerMovesFailing", true, || {
        // A series that has just begun has no increase yet: more fail while it is looked at.
        if begun.elapsed() > held.len() as u32 * Duration::from_secs(3) {
            held.push(in_flight(&client, 15));
        }
    });
    for mut process in held {
        process.kill().expect("killed");
        process.wait().expect("ended");
    }
    prometheus.until("BalancerMovesFailing", false, || ());
    // Those of what was done to the agent pass, too.
    for alert in ["BalancerMended", "BalancerSourceStale"] {
        prometheus.until(alert, false, hears);
    }
    assert_eq!(prometheus.firing(), Some(BTreeSet::new()));
}
