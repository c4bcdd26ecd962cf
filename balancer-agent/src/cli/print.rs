//! The two streams. Colours reach terminals only, which anstream decides.

use std::io::{self, ErrorKind, Write};

use anstyle::{AnsiColor, Style};

use super::exit::Failure;

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

/// Prints what the reader of the result should know.
pub(super) fn note(text: &str) {
    anstream::eprintln!("{NOTE}note:{NOTE:#} {text}");
}

/// Prints why a verb failed, in one line.
pub(super) fn error(failure: &Failure) {
    anstream::eprintln!("{ERROR}error:{ERROR:#} {}", failure.error);
}
