//! The two streams. Colours reach terminals only, which anstream decides.

use std::{
    env,
    io::{self, ErrorKind, Write},
    os::fd::AsFd as _,
    time::Duration,
};

use anstyle::{AnsiColor, Style};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::exit::Failure;

/// Time between two looks at whether the reader has gone.
const LOOK: Duration = Duration::from_secs(1);
const ERROR: Style = AnsiColor::Red.on_default().bold();
const NOTE: Style = AnsiColor::Yellow.on_default().bold();

/// Prints the result of a verb. A reader that has seen enough, such as `head`, is no error.
pub(super) fn result(text: &str) -> io::Result<()> {
    piece(text).map(drop)
}

/// Prints a part of a result that goes on; false where its reader has seen enough.
pub(super) fn piece(text: &str) -> io::Result<bool> {
    let mut out = anstream::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true),
    }
}

/// True where the terminal can't move its cursor.
pub(super) fn is_dumb() -> bool {
    env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}

/// Waits; true where the reader of the result has gone meanwhile.
pub(super) fn wait(time: Duration) -> io::Result<bool> {
    let out = io::stdout();
    // A pipe without a reader is an error of the pipe, whatever is asked for.
    let mut polled = [PollFd::new(out.as_fd(), PollFlags::empty())];
    let limit = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
    match poll(&mut polled, limit) {
        Ok(changed) => Ok(changed > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Returns once the reader of the result has gone. Cancel-safe.
pub(super) async fn reader_gone() -> io::Result<()> {
    while !wait(Duration::ZERO)? {
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Prints what the reader of the result should know.
pub(super) fn note(text: &str) {
    anstream::eprintln!("{NOTE}note:{NOTE:#} {text}");
}

/// Prints why a verb failed, in one line.
pub(super) fn error(failure: &Failure) {
    anstream::eprintln!("{ERROR}error:{ERROR:#} {}", failure.error);
}
