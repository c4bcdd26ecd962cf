//! The server as a process in a lab, for agents that run there.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use serde_json::Value;

use crate::{
    Lab, Place,
    error::{Attempt, Error, Result, on},
};

/// `balancer-lab apiserver` in a place of a lab. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    dir: PathBuf,
}

impl Process {
    /// Starts it on `listen`, an address of the place, and returns once it serves. Its files are
    /// below `dir`.
    pub fn start(place: &Place, dir: &Path, listen: SocketAddr) -> Result<Self> {
        let mut command = Lab::self_command(place)?;
        command.arg("apiserver").arg("--dir").arg(dir).args(["--listen", &listen.to_string()]);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .attempt("start the API server")?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).attempt("read from the API server")?;
        }
        let process = Self { child, dir: dir.to_owned() };
        match line.starts_with("serving on ") {
            true => Ok(process),
            false => Err(Error::Unmet(format!(
                "the API server did not start on {listen}; it says why above"
            ))),
        }
    }

    /// The file that clients need.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// Creates or replaces objects just as they are.
    pub fn put(&self, objects: &[Value]) -> Result<()> {
        self.order("/put", &list(objects)).map(drop)
    }

    /// Deletes objects.
    pub fn remove(&self, objects: &[Value]) -> Result<()> {
        self.order("/remove", &list(objects)).map(drop)
    }

    /// Gives an order that needs no objects, such as `/away` or `/slow?ms=20`.
    pub fn tell(&self, order: &str) -> Result<()> {
        self.order(order, "").map(drop)
    }

    fn order(&self, order: &str, body: &str) -> Result<String> {
        let socket = self.dir.join("control");
        let mut stream = UnixStream::connect(&socket).attempt(on("connect to", &socket))?;
        let length = body.len();
        let request = format!(
            "POST {order} HTTP/1.1\r\nHost: lab\r\nConnection: close\r\nContent-Length: {length}\r\n\
             \r\n{body}"
        );
        stream.write_all(request.as_bytes()).attempt(on("write to", &socket))?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).attempt(on("read from", &socket))?;
        let (head, text) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        match head.starts_with("HTTP/1.1 200 ") {
            true => Ok(text.to_owned()),
            false => Err(Error::Unmet(format!("the API server refused {order}: {text}"))),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already: there is nothing left to do about either result.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn list(objects: &[Value]) -> String {
    serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
}
