//! Connections that are held by processes of their own.

use std::{
    io::{BufRead as _, BufReader, Lines},
    net::SocketAddr,
    process::{Child, ChildStdout, Stdio},
};

use balancer_lab::{Lab, Place};
use serde_json::Value;

use super::Web;

/// What `connections` lists with these filters.
pub fn listed(web: &Web, filters: &[&str]) -> Vec<Value> {
    let all = web.agent.json(&[&["connections"], filters].concat()).expect("connections");
    all.as_array().expect("an array").clone()
}

/// A process that has tried to connect some times, and what it said of each. Killed when dropped.
pub struct Connections {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    pub said: Vec<Value>,
}

impl Connections {
    /// One after another.
    pub fn open(place: &Place, target: impl Into<SocketAddr>, count: usize) -> Self {
        Self::open_with(place, target.into(), count, &[])
    }

    /// All at the same time.
    pub fn open_at_once(place: &Place, target: impl Into<SocketAddr>, count: usize) -> Self {
        Self::open_with(place, target.into(), count, &["--at-once"])
    }

    /// One after another, with the locks of their sockets held.
    pub fn open_held(place: &Place, target: impl Into<SocketAddr>, count: usize) -> Self {
        Self::open_with(place, target.into(), count, &["--hold-locks"])
    }

    /// One after another, by a process whose main thread has ended.
    pub fn open_without_main_thread(
        place: &Place,
        target: impl Into<SocketAddr>,
        count: usize,
    ) -> Self {
        Self::open_with(place, target.into(), count, &["--without-main-thread"])
    }

    /// One after another, with flags of `balancer-lab connect`.
    pub fn open_with(place: &Place, target: SocketAddr, count: usize, flags: &[&str]) -> Self {
        let mut command = Lab::self_command(place).expect("balancer-lab");
        command.args(["connect", &target.to_string(), "--count", &count.to_string()]).args(flags);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("started");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut opened = Self { child, lines, said: Vec::new() };
        opened.said = (0..count).map(|_| opened.answer()).collect();
        opened
    }

    /// Ends the input of the process, and gives what it says then.
    pub fn end_input(&mut self) -> Value {
        drop(self.child.stdin.take());
        self.answer()
    }

    fn answer(&mut self) -> Value {
        let line = self.lines.next().expect("a line for each").expect("text");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// So many as fast as it goes; the process says one line when they are open.
    pub fn start_many(
        place: &Place,
        target: impl Into<SocketAddr>,
        count: usize,
        udp: bool,
    ) -> Many {
        let mut command = Lab::self_command(place).expect("balancer-lab");
        let target = target.into().to_string();
        command.args(["connect", &target, "--many", "--count", &count.to_string()]);
        if udp {
            command.arg("--udp");
        }
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        Many { child: child.expect("started") }
    }

    /// The same, where all must be connected to what they dialled.
    pub fn opened(self, target: impl Into<SocketAddr>) -> Self {
        let target = target.into().to_string();
        assert!(self.said.iter().all(|said| said["peer"] == target.as_str()), "{:?}", self.said);
        self
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that connects. Killed when dropped.
pub struct Many {
    child: Child,
}

impl Many {
    /// Waits until all are open; gives the seconds that took.
    pub fn opened(&mut self, count: usize) -> f64 {
        let output = self.child.stdout.take().expect("asked once");
        let line = BufReader::new(output).lines().next().expect("all are connected").expect("text");
        let said: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(said["connected"], count, "{said}");
        said["seconds"].as_f64().expect("a number")
    }
}

impl Drop for Many {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that has tried to connect, and what it said of it. Killed when dropped.
pub struct Connection {
    pub said: Value,
    _held: Connections,
}

impl Connection {
    pub fn open(place: &Place, target: SocketAddr) -> Self {
        Self::open_with(place, target, &[])
    }

    pub fn open_with(place: &Place, target: SocketAddr, flags: &[&str]) -> Self {
        let mut held = Connections::open_with(place, target, 1, flags);
        Self { said: held.said.remove(0), _held: held }
    }
}

/// Connects once, closes, and returns what the program was told. What nobody answers times out soon:
/// packets of a lab never wait.
pub fn dial(place: &Place, target: impl Into<SocketAddr>) -> Value {
    Connection::open_with(place, target.into(), &["--timeout-ms", "500"]).said.clone()
}
