//! The agent in a lab.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{Id, WaitPidFlag, waitid},
    },
    unistd::Pid,
};

use crate::{
    Place,
    error::{Attempt, Error, Result, on},
    host,
    lab::Node,
};

/// How long the agent may take until the first complete state is in the maps.
const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// A running agent, attached to its node's cgroup. Dropping it kills it (SIGKILL).
#[derive(Debug)]
pub struct Agent {
    binary: PathBuf,
    node: Place,
    state_dir: PathBuf,
    arguments: Vec<String>,
    /// A program, and its arguments, that starts the agent in its own place.
    through: Vec<String>,
    child: Option<Child>,
}

impl Agent {
    /// Starts the agent of a node, or of the node of a lab, on a folder of manifests, and returns
    /// once it is ready. A flag among the `extra` arguments stands in place of what the lab would
    /// give.
    pub fn start(node: impl AsRef<Node>, manifests: &Path, extra: &[&str]) -> Result<Self> {
        Self::start_with(node, "--manifests", manifests, extra, &[])
    }

    /// The agents of many nodes, started at the same time; returns once all are ready.
    pub fn start_all(nodes: &[Node], manifests: &Path, extra: &[&str]) -> Result<Vec<Self>> {
        let launch = |node| {
            let mut agent = Self::prepare(node, "--manifests", manifests, extra, &[])?;
            let notify = agent.spawn()?;
            Ok((agent, notify))
        };
        let launched = nodes.iter().map(launch).collect::<Result<Vec<_>>>()?;
        let ready = |(mut agent, notify): (Self, UnixDatagram)| {
            agent.await_ready(&notify)?;
            Ok(agent)
        };
        launched.into_iter().map(ready).collect()
    }

    /// The same through another program, which is given the agent's command line after its own
    /// arguments and replaces itself by it, as `setpriv` does.
    pub fn start_through(
        node: impl AsRef<Node>,
        manifests: &Path,
        through: &[&str],
    ) -> Result<Self> {
        Self::start_with(node, "--manifests", manifests, &[], through)
    }

    /// The same for an agent that watches the cluster of this kubeconfig.
    pub fn start_watching(
        node: impl AsRef<Node>,
        kubeconfig: &Path,
        extra: &[&str],
    ) -> Result<Self> {
        Self::start_with(node, "--kubeconfig", kubeconfig, extra, &[])
    }

    fn start_with(
        node: impl AsRef<Node>,
        flag: &str,
        source: &Path,
        extra: &[&str],
        through: &[&str],
    ) -> Result<Self> {
        let mut agent = Self::prepare(node.as_ref(), flag, source, extra, through)?;
        agent.resume()?;
        Ok(agent)
    }

    /// The agent, not started.
    fn prepare(
        node: &Node,
        flag: &str,
        source: &Path,
        extra: &[&str],
        through: &[&str],
    ) -> Result<Self> {
        let display = |path: &Path| path.display().to_string();
        let mut arguments: Vec<String> = [
            (flag, display(source)),
            ("--node-name", node.name().to_owned()),
            ("--cgroup", display(node.cgroup())),
            ("--metrics-bind-address", "127.0.0.1:0".into()),
            ("--metrics-backends", "all".into()),
            ("--healthz-bind-address", "127.0.0.1:0".into()),
        ]
        .into_iter()
        .filter(|(flag, _)| !extra.contains(flag))
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect();
        arguments.extend(extra.iter().map(|&argument| argument.to_owned()));
        Ok(Self {
            binary: host::binary("balancer-agent", "BALANCER_AGENT_BIN")?,
            node: node.place().clone(),
            state_dir: node.state_dir().to_owned(),
            arguments,
            through: through.iter().map(|&argument| argument.to_owned()).collect(),
            child: None,
        })
    }

    /// Starts the agent again after [`Agent::kill`] or [`Agent::terminate`], and waits until ready.
    pub fn resume(&mut self) -> Result<()> {
        let notify = self.spawn()?;
        self.await_ready(&notify)
    }

    /// The same without waiting, for an agent whose source is not there.
    pub fn launch(&mut self) -> Result<()> {
        self.spawn().map(drop)
    }

    /// Starts the process and returns the socket where it tells that it is ready.
    fn spawn(&mut self) -> Result<UnixDatagram> {
        let notify_path = self.state_dir.join("notify.sock");
        match fs::remove_file(&notify_path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).attempt(on("remove", &notify_path))?;
            }
            _ => {}
        }
        let notify = UnixDatagram::bind(&notify_path).attempt(on("bind", &notify_path))?;
        let log_path = self.log_path();
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log_path)
            .attempt(on("open", &log_path))?;
        let mut command = match self.through.split_first() {
            None => self.node.command(&self.binary),
            Some((program, arguments)) => {
                let mut command = self.node.command(program);
                command.args(arguments).arg(&self.binary);
                command
            }
        };
        command
            .arg("run")
            .args(&self.arguments)
            .args(self.where_flags())
            .env("NOTIFY_SOCKET", &notify_path)
            // Each change, not their sums.
            .env("RUST_LOG", "info,balancer_agent::agent::reconcile::sums=debug")
            .stdin(Stdio::null())
            .stdout(log.try_clone().attempt(on("share", &log_path))?)
            .stderr(log);
        let child = command.spawn().attempt(on("start", &self.binary))?;
        let pid = pid_of(&child);
        self.child = Some(child);
        report_exit(pid, notify_path);
        Ok(notify)
    }

    /// Waits for the agent's `READY=1`; its exit arrives on the same socket.
    fn await_ready(&mut self, notify: &UnixDatagram) -> Result<()> {
        let deadline = Instant::now() + READY_TIMEOUT;
        let exited = self.child.as_ref().map(|child| exited(pid_of(child)));
        let mut buffer = [0; 4096];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let message = if left.is_zero() {
                None
            } else {
                notify.set_read_timeout(Some(left)).attempt("wait for the agent")?;
                match notify.recv(&mut buffer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => None,
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    result => Some(&buffer[..result.attempt("wait for the agent")?]),
                }
            };
            let what = match message {
                Some(text) if exited.as_deref() == Some(text) => "ended before it was ready",
                None => "was not ready in time",
                Some(text) if text.split(|&byte| byte == b'\n').any(|line| line == b"READY=1") => {
                    return Ok(());
                }
                Some(_) => continue,
            };
            let status = self.end(Signal::SIGKILL)?;
            return Err(Error::Command {
                command: format!("balancer-agent run {}", self.arguments.join(" ")),
                status: format!("it {what}; {status}"),
                output: host::tail(&self.log()?, 20),
            });
        }
    }

    /// Runs the binary as command line tool and returns what it printed.
    pub fn cli(&self, arguments: &[&str]) -> Result<String> {
        let output = host::run(&mut self.cli_command(arguments), "")?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs the binary as command line tool with `-o json`.
    pub fn json(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let text = self.cli(&[arguments, &["-o", "json"]].concat())?;
        serde_json::from_str(&text).map_err(|error| {
            Error::Unmet(format!("{} printed no JSON ({error}): {text}", arguments.join(" ")))
        })
    }

    /// The command line tool, pointed at this agent, to be run in any way the caller likes.
    pub fn cli_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.node.command(&self.binary);
        command.args(arguments).args(self.where_flags());
        command
    }

    /// Where this agent is reached and keeps its maps: flags for the command line tool.
    pub fn where_flags(&self) -> [String; 4] {
        Self::where_flags_in(&self.state_dir)
    }

    /// The same for the agent of a lab with this state directory.
    pub fn where_flags_in(state_dir: &Path) -> [String; 4] {
        let flag = |name: &str| state_dir.join(name).display().to_string();
        ["--socket".into(), flag("agent.sock"), "--bpffs".into(), flag("bpffs/balancer")]
    }

    /// What it serves as metrics.
    pub fn metrics(&self) -> Result<String> {
        let log = self.log()?;
        let served = log.lines().rev().find(|line| line.contains("serving metrics"));
        let address = served.and_then(|line| line.split_once("address=")?.1.parse().ok());
        let Some(address) = address else {
            return Err(Error::Unmet("the agent's log does not say where metrics are".into()));
        };
        self.node.within(move || ask(address))?.attempt("read the agent's metrics")
    }

    /// The binary that runs.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The log's path.
    pub fn log_path(&self) -> PathBuf {
        self.state_dir.join("agent.log")
    }

    /// What the agent logged so far, over all its starts.
    pub fn log(&self) -> Result<String> {
        let path = self.log_path();
        fs::read_to_string(&path).attempt(on("read", &path))
    }

    /// The process identifier, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Kills the agent the hard way (SIGKILL), waits, and returns how it ended: it may have been
    /// faster.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.end(Signal::SIGKILL)
    }

    /// Takes another binary for its next start.
    pub fn set_binary(&mut self, binary: PathBuf) {
        self.binary = binary;
    }

    /// Asks the agent to end (SIGTERM), waits, and returns how it ended.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.end(Signal::SIGTERM)
    }

    /// Ends the agent with SIGTERM and starts it again.
    pub fn restart(&mut self) -> Result<()> {
        self.terminate()?;
        self.resume()
    }

    /// Lets the agent run on when the caller exits; for [`Lab::leave`](crate::Lab::leave).
    pub fn detach(mut self) {
        self.child = None;
    }

    fn end(&mut self, signal: Signal) -> Result<ExitStatus> {
        let Some(mut child) = self.child.take() else {
            return Err(Error::Unmet("the agent is not running".into()));
        };
        kill(pid_of(&child), signal).attempt(format!("send {signal} to the agent"))?;
        child.wait().attempt("wait for the agent's end")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended already: there is nothing left to do about either result.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The answer to a request for metrics, in one piece: version 1.0 knows no others.
fn ask(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: agent\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// What the watcher of a process writes where the agent writes `READY=1`. It names the process: the
/// watcher of the one before may be late.
fn exited(pid: Pid) -> Vec<u8> {
    format!("EXITED={pid}").into_bytes()
}

/// Writes [`exited`] to the socket once the process has ended, without reaping it.
fn report_exit(pid: Pid, notify: PathBuf) {
    thread::spawn(move || {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        if waitid(Id::Pid(pid), flags).is_ok()
            && let Ok(socket) = UnixDatagram::unbound()
        {
            // Nobody listens any more once the agent was ready.
            let _ = socket.send_to(&exited(pid), notify);
        }
    });
}
