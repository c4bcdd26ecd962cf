//! Against this kernel: cgroups, processes and network namespaces of the test's own. Needs root.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio, id},
};

use super::*;
use crate::node::cgroup;

const UID: &str = "5f0a7a3e-0001-4a4a-8c8c-000000000001";
const OTHER: &str = "5f0a7a3e-0001-4a4a-8c8c-000000000002";

/// Cgroups that go with the test.
struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Self {
        let path = cgroup::root().unwrap().join(format!("balancer-pods-{name}-{}", id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn child(&self, path: &str) -> PathBuf {
        let path = self.0.join(path);
        fs::create_dir_all(&path).unwrap();
        path
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        fn remove(path: &Path) {
            for entry in fs::read_dir(path).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    remove(&entry.path());
                }
            }
            let _ = fs::remove_dir(path);
        }
        remove(&self.0);
    }
}

/// A process in a network namespace of its own, or in that of the test.
struct Process(Child);

impl Process {
    fn start(isolated: bool) -> Self {
        let script = "echo here; exec sleep 60";
        let mut command = Command::new(if isolated { "unshare" } else { "env" });
        command.args(isolated.then_some("--net")).args(["sh", "-c", script]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("a process");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "here\n", "unshare --net needs root");
        Self(child)
    }

    fn enter(&self, cgroup: &Path) {
        fs::write(cgroup.join("cgroup.procs"), self.0.id().to_string()).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn pod(name: &str, opted_out: bool) -> DesiredPod {
    DesiredPod {
        id: ObjectRef { namespace: "shop".into(), name: name.into() },
        opted_out,
        addresses: vec![[10, 0, 0, 1].into()],
        sandboxed: None,
        host_network: false,
    }
}

fn desired(pods: &[(&str, DesiredPod)]) -> Desired {
    Desired {
        pods: pods.iter().map(|(uid, pod)| ((*uid).to_owned(), pod.clone())).collect(),
        node_addresses: vec![[192, 0, 2, 1].into()],
        ..Desired::default()
    }
}

#[test]
fn a_pod_is_known_by_its_cgroup_and_network_namespace() {
    let tree = Tree::new("known");
    let desired = desired(&[(UID, pod("web", true)), (OTHER, pod("api", false))]);
    let before = resolve(&tree.0, &desired).unwrap();
    assert_eq!(before.opted_out, BTreeMap::new());
    assert_eq!(before.unseen.len(), 2, "{before:?}");
    assert_eq!(before.clients.values().collect::<Vec<_>>(), [&desired.node_addresses]);

    // One made by kubelet itself, one by systemd, whose process is in a container below.
    let own = tree.child(&format!("kubepods/burstable/pod{UID}"));
    let slice = format!("kubepods.slice/kubepods-pod{}.slice", OTHER.replace('-', "_"));
    let container = tree.child(&format!("{slice}/cri-containerd-1.scope"));
    let (web, api) = (Process::start(true), Process::start(true));
    web.enter(&own);
    api.enter(&container);
    let found = resolve(&tree.0, &desired).unwrap();
    let inode = fs::metadata(&own).unwrap().ino();
    assert_eq!(found.opted_out, BTreeMap::from([(inode, 4)]), "below {}", tree.0.display());
    assert_eq!(found.unseen, BTreeSet::new());
    let node = netns::own().unwrap();
    assert_eq!(found.clients.get(&node), Some(&desired.node_addresses));
    let pods: Vec<_> = found.clients.iter().filter(|(cookie, _)| **cookie != node).collect();
    assert_eq!(pods.len(), 2, "a namespace each: {found:?}");
    assert!(pods.iter().all(|(_, ips)| **ips == [IpAddr::from([10, 0, 0, 1])]), "{found:?}");

    // The namespace goes with its last process; the cgroup stays.
    drop(web);
    let after = resolve(&tree.0, &desired).unwrap();
    assert_eq!(after.opted_out, found.opted_out);
    assert_eq!(after.clients.len(), 2);
    assert_eq!(after.unseen.iter().map(ObjectRef::to_string).collect::<Vec<_>>(), ["shop/web"]);
}

#[test]
fn the_network_of_the_node_stays_that_of_the_node() {
    let tree = Tree::new("host");
    let host = DesiredPod { host_network: true, ..pod("host", true) };
    let desired = desired(&[(UID, host), (OTHER, pod("intruder", false))]);
    let own = tree.child(&format!("pod{UID}"));
    let intruder = tree.child(&format!("pod{OTHER}"));
    let (first, second) = (Process::start(false), Process::start(false));
    first.enter(&own);
    second.enter(&intruder);
    let found = resolve(&tree.0, &desired).unwrap();
    assert_eq!(found.opted_out, BTreeMap::from([(fs::metadata(&own).unwrap().ino(), 2)]));
    let clients = BTreeMap::from([(netns::own().unwrap(), desired.node_addresses.clone())]);
    assert_eq!(found.clients, clients);
    assert_eq!(found.unseen, BTreeSet::new());
}

#[test]
fn a_pod_without_an_address_or_a_wish_is_not_waited_for() {
    let tree = Tree::new("idle");
    let pending = DesiredPod { addresses: Vec::new(), ..pod("pending", false) };
    let found = resolve(&tree.0, &desired(&[(UID, pending)])).unwrap();
    assert_eq!(found.unseen, BTreeSet::new());
}
