//! Gives the terminal back, whatever becomes of the process that draws on it.
//!
//! Before it takes the terminal, that process starts another one in a session of its own, which no
//! signal of the terminal reaches, with a pipe between them. The kernel closes the pipe with whoever
//! holds its other end, also after SIGKILL. If nothing came over it before, the terminal was left as it
//! was drawn on.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Child, ChildStdin, Command, Stdio},
};

use crossterm::{cursor, queue, terminal::LeaveAlternateScreen};
use nix::{
    sys::termios::{self, SetArg, Termios},
    unistd::setsid,
};

/// The name of the subcommand that runs as this process.
pub const VERB: &str = "guard-terminal";
/// What is said at the end where nothing is left to do.
const DONE: &[u8] = b"done\n";
/// What whoever killed the other process is told.
const SAID: &[u8] = b"balancer-agent top was killed; the terminal is as it was before\r\n";

/// The process that guards a terminal.
#[derive(Debug)]
pub struct Guard {
    child: Child,
    pipe: ChildStdin,
}

impl Guard {
    /// Starts one for the terminal at standard output, and waits until it has seen what that is like.
    pub fn start() -> io::Result<Self> {
        let terminal: OwnedFd = io::stdout().as_fd().try_clone_to_owned()?;
        let mut child = Command::new("/proc/self/exe")
            .arg0("balancer-agent")
            .arg(VERB)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(terminal)
            .spawn()?;
        let missing = || io::Error::other("a child without its pipes");
        let (pipe, ready) = child.stdin.take().zip(child.stdout.take()).ok_or_else(missing)?;
        let mut line = String::new();
        BufReader::new(ready).read_line(&mut line)?;
        if line.is_empty() {
            let ended = child.wait()?;
            return Err(io::Error::other(format!("the guard of the terminal ended: {ended}")));
        }
        Ok(Self { child, pipe })
    }

    /// Says that the terminal is as it was, and waits until the guard has ended.
    pub fn dismiss(self) -> io::Result<()> {
        let Self { mut child, mut pipe } = self;
        pipe.write_all(DONE)?;
        drop(pipe);
        child.wait().map(drop)
    }
}

/// Guards the terminal at standard error until standard input ends.
pub fn guard() -> io::Result<()> {
    setsid()?;
    let terminal = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let before = termios::tcgetattr(&terminal)?;
    let mut ready = io::stdout();
    ready.write_all(b"ready\n")?;
    ready.flush()?;
    let mut said = Vec::new();
    io::stdin().read_to_end(&mut said)?;
    if said == DONE {
        return Ok(());
    }
    restore(&terminal, &before)
}

fn restore(mut terminal: &File, before: &Termios) -> io::Result<()> {
    // A shell may have it by now, and read its line in a mode of its own.
    let now = termios::tcgetattr(terminal)?;
    let mut raw = before.clone();
    termios::cfmakeraw(&mut raw);
    if now.local_flags == raw.local_flags && now.output_flags == raw.output_flags {
        termios::tcsetattr(terminal, SetArg::TCSADRAIN, before)?;
    }
    let mut text = Vec::new();
    queue!(text, LeaveAlternateScreen, cursor::Show)?;
    text.extend_from_slice(SAID);
    terminal.write_all(&text)
}
