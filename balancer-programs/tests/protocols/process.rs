//! Processes in pods.

use std::{
    io::{BufRead as _, BufReader, Read},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use balancer_lab::Pod;
use serde_json::Value;

/// For the slowest of them to be up: RabbitMQ, several at a time.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process of a pod and the lines it prints. Killed when dropped.
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Process {
    pub fn start(name: &str, mut command: Command) -> Self {
        let child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let program = command.get_program().to_string_lossy();
        let mut child = child.unwrap_or_else(|error| {
            panic!(
                "start {program} in {name}: {error}; `cargo xtask setup` installs what is missing"
            )
        });
        let (sender, lines) = mpsc::channel();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(stdout.expect("a pipe")), Box::new(stderr.expect("a pipe"))];
        for stream in streams {
            let sender = sender.clone();
            // Read to the end even if nobody listens: a full pipe would stop the process.
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
            });
        }
        let stdin = child.stdin.take();
        Self { name: name.to_owned(), child, stdin, lines }
    }

    /// A server or client of `balancer-programs`.
    pub fn program(pod: &Pod, arguments: &[&str]) -> Self {
        let mut command = pod.command(env!("CARGO_BIN_EXE_balancer-programs"));
        command.args(arguments);
        Self::start(pod.name(), command)
    }

    /// Waits for a line that satisfies, and returns it.
    pub fn await_line(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if wanted(&line) => return line,
                Ok(line) => said.push(line),
                Err(error) => {
                    let why = match error {
                        RecvTimeoutError::Timeout => format!("not within {PATIENCE:?}"),
                        RecvTimeoutError::Disconnected => "it ended".into(),
                    };
                    panic!("{}: no {what}: {why}; it said:\n{}", self.name, said.join("\n"));
                }
            }
        }
    }

    /// Waits until a server of `balancer-programs` listens.
    pub fn await_listening(&mut self) {
        self.await_line("\"listening\"", |line| line == "listening");
    }

    /// Waits for a line of JSON.
    pub fn await_json(&mut self) -> Value {
        let line = self.await_line("line of JSON", |line| line.starts_with('{'));
        serde_json::from_str(&line).expect("JSON")
    }

    /// Stops it, so that it answers nothing and refuses nothing; or lets it go on.
    pub fn freeze(&self, frozen: bool) {
        let signal = if frozen { "-STOP" } else { "-CONT" };
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(status.expect("kill").success(), "{signal} {}", self.name);
    }

    /// Ends its input.
    pub fn end_input(&mut self) {
        drop(self.stdin.take());
    }

    /// Ends its input and waits until it has ended well.
    pub fn finish(mut self) {
        drop(self.stdin.take());
        let status = self.child.wait().expect("waited for");
        let said: Vec<_> = self.lines.iter().collect();
        assert!(status.success(), "{} ended with {status}:\n{}", self.name, said.join("\n"));
    }
}

/// A command of a program that refuses to run as root, started by `setpriv`.
pub fn as_user(user: &str, mut setpriv: Command, program: &Path) -> Command {
    setpriv.args([&format!("--reuid={user}"), &format!("--regid={user}")]);
    // A change of the user makes the kernel forget that the process is to die with the test.
    setpriv.args(["--clear-groups", "--pdeathsig=KILL"]).arg(program).current_dir("/");
    setpriv
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already: there is nothing left to do about either result.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
