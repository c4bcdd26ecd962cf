//! Clients of [`balancer_lab::posts`] in the client pod of a [`Web`], and what came of their requests.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use balancer_lab::{
    Lab,
    posts::{Said, Server, Way},
};
use clap::ValueEnum as _;

use super::{VIP, Web};

/// Servers in every backend, instead of those that [`Web`] has.
pub fn serve_posts(web: &mut Web, way: Way, work: Duration) -> Vec<Server> {
    web.servers.clear();
    let authority = authority(web);
    let start = |pod: &balancer_lab::Pod| {
        Server::start(pod.place(), pod.socket(8080), way, work, &authority).expect("a server")
    };
    web.backends.iter().map(start).collect()
}

fn authority(web: &Web) -> PathBuf {
    web.lab.state_dir().join("authority.pem")
}

/// Running clients.
pub struct Posts(Child);

impl Posts {
    /// So many clients, each with so many requests and a pause before each but the first.
    pub fn start(web: &Web, way: Way, clients: u64, requests: u64, pause: Duration) -> Self {
        let mut command = Lab::self_command(web.client.place()).expect("balancer-lab");
        let name = way.to_possible_value().expect("a name");
        command.args(["post", &format!("{VIP}:80"), name.get_name()]);
        command.args(["--clients", &clients.to_string(), "--requests", &requests.to_string()]);
        command.args(["--pause-ms", &pause.as_millis().to_string()]);
        command.arg("--authority").arg(authority(web)).stdout(Stdio::piped());
        Self(command.spawn().expect("clients"))
    }

    /// What they were told of each request.
    pub fn said(self) -> Vec<Said> {
        let output = self.0.wait_with_output().expect("their end");
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}

/// Every request was executed once where its client believes so, and otherwise not at all. Gives
/// those that failed.
pub fn assert_told_right<'a>(said: &'a [Said], servers: &[Server]) -> Vec<&'a Said> {
    // A server may still have the last request of a client that does not wait for its answer.
    let deadline = Instant::now() + Duration::from_secs(3);
    loop {
        let wrong = told_wrong(said, servers);
        if wrong.is_empty() {
            return said.iter().filter(|said| said.error.is_some()).collect();
        }
        let is_late = wrong.iter().all(|(said, times)| said.error.is_none() && *times == 0);
        let waits = is_late && Instant::now() < deadline;
        assert!(waits, "requests, and how often they were executed: {wrong:#?}");
    }
}

/// Requests that were not executed as often as their clients believe, and how often they were.
fn told_wrong<'a>(said: &'a [Said], servers: &[Server]) -> Vec<(&'a Said, u32)> {
    let mut executed = BTreeMap::<u64, u32>::new();
    for (id, times) in servers.iter().flat_map(Server::executed) {
        *executed.entry(id).or_default() += times;
    }
    let times = |said: &Said| executed.get(&said.id).copied().unwrap_or_default();
    let all = said.iter().map(|said| (said, times(said)));
    all.filter(|(said, times)| *times != u32::from(said.error.is_none())).collect()
}
