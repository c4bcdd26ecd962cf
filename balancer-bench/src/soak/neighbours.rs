//! Neighbours of the workers: pods that fill the table of charges, and a pod that holds the locks of its
//! sockets while balancer wants to end them. What is charged to their backends is theirs, and nobody's
//! claim.

use std::{
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, ChildStdin, Stdio},
    time::{Duration, Instant},
};

use balancer_lab::{
    Lab, Pod,
    error::{Attempt, Error, Result},
    http::Server,
    manifests::Service,
};

use super::{maps::BackendId, stage::Stage};

/// The port of their backends, and of nobody else's.
const PORT: u16 = 9999;
/// Sockets of a process, and processes in a pod: no process may have more open than a limit of many
/// machines, and each socket takes a port of its pod.
const EACH: u64 = 5_000;
const PROCESSES: u64 = 12;
/// Connections, and as many UDP sockets, whose locks are held.
const HELD: usize = 8;
/// How long a Service is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Every port.
const PORTS: (&str, &str) = ("net/ipv4/ip_local_port_range", "1024 65000");

/// Killed when dropped, before the lab.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    processes: Vec<(Child, ChildStdin)>,
    servers: Vec<Server>,
    pods: Vec<Pod>,
}

impl Neighbours {
    /// So many sockets are held open beside those of the workers; with `stalls` some are that nobody can
    /// look at or end.
    pub(super) fn start(stage: &Stage, sockets: u64, stalls: bool) -> Result<Self> {
        let mut neighbours = Self::default();
        if sockets > 0 {
            neighbours.fill(stage, sockets)?;
        }
        if stalls {
            neighbours.stall(stage)?;
        }
        Ok(neighbours)
    }

    fn fill(&mut self, stage: &Stage, sockets: u64) -> Result<()> {
        let at = address(1, 53);
        stage.manifests.write(&service("crowd", at, &[backend(1)]).udp())?;
        await_service(stage, "crowd")?;
        let processes = sockets.div_ceil(EACH);
        for number in 0..processes.div_ceil(PROCESSES) {
            let pod = (format!("crowd-{number}"), Ipv4Addr::new(10, 244, 3, number as u8 + 1));
            let pod = stage.lab.pod(&pod.0, pod.1)?;
            pod.place().set_sysctl(PORTS.0, PORTS.1)?;
            for process in number * PROCESSES..processes.min((number + 1) * PROCESSES) {
                let count = EACH.min(sockets - process * EACH).to_string();
                self.connect(&pod, at, &["--many", "--udp", "--count", &count])?;
            }
            self.pods.push(pod);
        }
        Ok(())
    }

    fn stall(&mut self, stage: &Stage) -> Result<()> {
        let server = stage.lab.pod("stalled", backend(2))?;
        self.servers.push(Server::start(server.place(), "stalled", &[server.socket(PORT)])?);
        let (tcp, udp) = (address(2, 80), address(2, 53));
        let idle =
            service("held", tcp, &[backend(2)]).annotated("balancer-agent/idle-timeout", "1s");
        stage.manifests.write(&idle)?;
        stage.manifests.write(&service("held-udp", udp, &[backend(2)]).udp())?;
        await_service(stage, "held")?;
        await_service(stage, "held-udp")?;
        let pod = stage.lab.pod("holder", Ipv4Addr::new(10, 244, 3, 200))?;
        let held = HELD.to_string();
        self.connect(&pod, tcp, &["--hold-locks", "--count", &held])?;
        self.connect(&pod, udp, &["--hold-locks", "--udp", "--count", &held])?;
        // They are to leave.
        stage.manifests.write(&service("held-udp", udp, &[]).udp())?;
        self.pods.extend([server, pod]);
        Ok(())
    }

    /// Starts a process that connects, and waits until it has.
    fn connect(&mut self, pod: &Pod, at: SocketAddr, flags: &[&str]) -> Result<()> {
        let mut command = Lab::self_command(pod.place())?;
        command.args(["connect", &at.to_string()]).args(flags);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().attempt("start balancer-lab connect")?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (Some(input), Some(output)) = (input, output) else {
            return Err(Error::Unmet("a process without pipes".into()));
        };
        self.processes.push((child, input));
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).attempt("read what is connected")?;
        if line.is_empty() || line.contains("error") {
            return Err(Error::Unmet(format!("a neighbour does not connect to {at}: {line:?}")));
        }
        Ok(())
    }
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        for (child, _) in &mut self.processes {
            // One that has ended is no matter.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits until the agent has a Service.
fn await_service(stage: &Stage, name: &str) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let all = stage.agent.json(&["services"])?;
        let mut names = all.as_array().into_iter().flatten().map(|service| &service["name"]);
        if names.any(|found| found == name) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Error::Unmet(format!("the agent does not have Service {name}: {all}")));
        }
    }
}

/// True for a backend of theirs.
pub(super) const fn is_theirs(backend: &BackendId) -> bool {
    backend.1.port() == PORT
}

fn address(number: u8, port: u16) -> SocketAddr {
    (Ipv4Addr::new(10, 96, 3, number), port).into()
}

fn backend(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 244, 2, number)
}

fn service(name: &str, at: SocketAddr, backends: &[Ipv4Addr]) -> Service {
    Service::new(name, at.ip(), at.port(), PORT, backends.iter().copied())
}
