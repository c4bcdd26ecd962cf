//! Who reads `balancer-agent trace`.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use balancer_lab::Agent;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

/// How long an event may take to be shown.
const SOON: Duration = Duration::from_secs(20);

/// A `trace -o json` that reads. Killed when dropped.
pub struct Trace {
    child: Child,
    lines: Receiver<Value>,
}

impl Trace {
    /// Returns once everything is told.
    pub fn start(agent: &Agent, flags: &[&str]) -> Self {
        let mut command = agent.cli_command(&[&["trace", "-o", "json"], flags].concat());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let mut notes = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let first = notes.next().expect("it says that it has begun").expect("text");
        assert!(first.contains("from now on"), "{first}");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).expect("a line of JSON");
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines }
    }

    /// The next line.
    pub fn next(&self) -> Value {
        self.lines.recv_timeout(SOON).expect("a line")
    }

    /// The next line of an event, whatever comes before.
    pub fn next_of(&self, event: &str) -> Value {
        let deadline = Instant::now() + SOON;
        loop {
            let line = self.next();
            if line["event"] == event {
                return line;
            }
            assert!(Instant::now() < deadline, "no {event} after {line:#}");
        }
    }

    /// Everything that was shown when nothing comes for this long.
    pub fn rest(&self, quiet: Duration) -> Vec<Value> {
        std::iter::from_fn(|| self.lines.recv_timeout(quiet).ok()).collect()
    }

    /// It reads no more until it is told to go on.
    pub fn stop(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// It reads again.
    pub fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("a process");
    }

    /// Waits until it ends by itself.
    pub fn ended(mut self) -> ExitStatus {
        self.child.wait().expect("ended")
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
