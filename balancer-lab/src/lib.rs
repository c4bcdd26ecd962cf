//! Fake nodes and pods on one machine, for the tests, the demo and the benches (`balancer-bench`).
//!
//! A [`Lab`] is one Kubernetes node: a network namespace that routes between its pods, a cgroup that
//! holds every process of the node, and a bpffs of its own. A [`Cluster`] has several of them on one
//! bridge. A [`Pod`] is a network namespace behind a veth pair and a cgroup below its node's. Nothing of it touches the root network namespace or
//! the root cgroup, so labs may run next to each other and next to whatever the machine does.
//!
//! A module imports only those before it in this list:
//!
//! - [`error`](mod@error): the one error of the lab.
//! - [`exposition`]: reads what an agent serves as metrics.
//! - [`host`]: what the lab takes from the machine: mounts, programs, the binaries built beside it.
//! - [`lines`]: a process that is asked and answers by lines of JSON.
//! - [`main_thread`]: ends the main thread of this process; the others go on.
//! - [`hold_lock`]: holds the lock of a socket, as a pod could.
//! - [`stopped`]: stops a thread of another process at a system call.
//! - [`lab`]: create, use and remove labs; leftovers of killed owners are swept by the next run.
//! - [`signals`]: removes the labs of this process when it is told to end.
//! - [`manifests`]: the Service and EndpointSlice files an agent watches.
//! - [`apiserver`]: a double of the Kubernetes API server.
//! - [`agent`]: the agent in a lab, started, awaited until ready, killed, restarted, asked.
//! - [`usage`]: the memory and the processor time of an agent.
//! - [`heard`]: waits until agents have heard each other.
//! - [`kubeproxy`]: the rules kube-proxy would load, for comparison.
//! - [`sockets`]: sockets as the kernel knows them.
//! - [`churn`]: connections opened and closed at random.
//! - [`http`]: backends that say who answered, and clients with connection pools.
//! - [`posts`]: requests that are counted where they are executed, from clients of every way.
//!
//! ```no_run
//! use balancer_lab::{Lab, http::Server};
//! let lab = Lab::create("example")?;
//! let web = lab.pod("web-0", [10, 244, 0, 10].into())?;
//! let client = lab.pod("client", [10, 244, 0, 20].into())?;
//! let _server = Server::start(web.place(), "web-0", &[web.socket(8080)])?;
//! let answer = client.command("curl").arg("http://10.244.0.10:8080/").output();
//! # Ok::<(), balancer_lab::Error>(())
//! ```
#![deny(unsafe_code)]

pub mod agent;
pub mod apiserver;
pub mod churn;
pub mod error;
pub mod exposition;
pub mod heard;
pub mod hold_lock;
pub mod host;
pub mod http;
pub mod kubeproxy;
pub mod lab;
pub mod lines;
pub mod main_thread;
pub mod manifests;
pub mod posts;
pub mod signals;
pub mod sockets;
pub mod stopped;
pub mod usage;

pub use agent::Agent;
pub use error::{Error, Result};
pub use lab::{Cluster, Lab, Node, Place, Pod};
