//! UDP sockets that are held by processes of their own.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use balancer_lab::{Lab, Place, Pod};
use serde_json::Value;

/// A process with one UDP socket. Killed when dropped.
pub struct Udp {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Udp {
    pub fn open(place: &Place, flags: &[&str]) -> Self {
        let mut command = Lab::self_command(place).expect("balancer-lab");
        command.arg("udp").args(flags).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("started");
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, input, output }
    }

    /// A server in a pod, which answers with the name of that.
    pub fn serve(pod: &Pod, addresses: &[SocketAddr]) -> Self {
        let addresses: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
        let mut flags = vec!["--serve", pod.name()];
        flags.extend(addresses.iter().map(String::as_str));
        let mut server = Self::open(pod.place(), &flags);
        for _ in &addresses {
            let mut line = String::new();
            server.output.read_line(&mut line).expect("the server says where it listens");
            assert!(line.trim().parse::<SocketAddr>().is_ok(), "{line:?}");
        }
        server
    }

    /// Tells it a line, and returns its answer.
    pub fn ask(&mut self, line: &str) -> Value {
        self.tell(line);
        self.line()
    }

    /// Tells it a line.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("told");
    }

    /// Its next answer.
    pub fn line(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// Sends, and says who answered. The answer must seem to come from `service`.
    pub fn answer(&mut self, line: &str, service: &str) -> String {
        let answer = self.ask(line);
        assert_eq!(answer["from"], service, "{line}: {answer}");
        answer["text"].as_str().expect("text").to_owned()
    }
}

impl Drop for Udp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
