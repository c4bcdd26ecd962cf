//! Shows rows, and goes on where that is wanted: anew on a terminal, by what has changed elsewhere.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use crossterm::{
    cursor::MoveTo,
    execute,
    terminal::{Clear, ClearType},
};
use jiff::Timestamp;

use super::{
    exit::{Exit, Failure},
    print,
};
use crate::render::{self, Listed, Output};

/// Time between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// What a look has found, and what is to be said beside that.
pub(super) struct Seen<T> {
    pub(super) rows: Vec<T>,
    pub(super) notes: Vec<String>,
}

/// How rows are shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub(super) output: Output,
    pub(super) headers: bool,
    /// True where it goes on until the reader has gone.
    pub(super) follows: bool,
}

/// Prints what is seen.
pub(super) fn show<T: Listed + Clone>(
    shown: Shown,
    mut look: impl FnMut() -> Result<Seen<T>, Failure>,
) -> Result<Exit, Failure> {
    let first = look()?;
    let mut told = Told::default();
    if !shown.follows {
        told.notes(first.notes);
        print::result(&render::list(shown.output, &first.rows, shown.headers)?)?;
        return Ok(Exit::Fine);
    }
    if io::stdout().is_terminal() && !print::is_dumb() {
        redraw(shown, first, look)
    } else {
        append(shown, first, look, told)
    }
}

/// Notes that were printed last: each is printed once for as long as it holds.
#[derive(Default)]
struct Told(Vec<String>);

impl Told {
    fn notes(&mut self, notes: Vec<String>) {
        for note in notes.iter().filter(|note| !self.0.contains(note)) {
            print::note(note);
        }
        self.0 = notes;
    }
}

/// Clears the terminal and prints everything where something is otherwise, ages too.
fn redraw<T: Listed>(
    shown: Shown,
    first: Seen<T>,
    mut look: impl FnMut() -> Result<Seen<T>, Failure>,
) -> Result<Exit, Failure> {
    let mut seen = first;
    let mut drawn = None;
    loop {
        let text = render::list(shown.output, &seen.rows, shown.headers)?;
        let now = (text, seen.notes);
        if drawn.as_ref() != Some(&now) {
            execute!(io::stdout(), Clear(ClearType::All), MoveTo(0, 0))?;
            for note in &now.1 {
                print::note(note);
            }
            if !print::piece(&now.0)? {
                return Ok(Exit::Fine);
            }
            drawn = Some(now);
        }
        if print::wait(PAUSE)? {
            return Ok(Exit::Fine);
        }
        // An agent that restarts is back soon; what was seen stays until then.
        seen = match look() {
            Ok(seen) => seen,
            Err(failure) => Seen { rows: seen.rows, notes: vec![failure.to_string()] },
        };
    }
}

/// Prints what is there, and then what changes.
fn append<T: Listed + Clone>(
    shown: Shown,
    first: Seen<T>,
    mut look: impl FnMut() -> Result<Seen<T>, Failure>,
    mut told: Told,
) -> Result<Exit, Failure> {
    let (mut before, mut seen, mut headers) = (Vec::new(), first, shown.headers);
    loop {
        told.notes(seen.notes);
        let changes = render::changes(&before, &seen.rows);
        if !changes.is_empty() {
            let time = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            let text = render::appended(shown.output, &time, &changes, headers)?;
            if !print::piece(&text)? {
                return Ok(Exit::Fine);
            }
            headers = false;
        }
        before = seen.rows;
        if print::wait(PAUSE)? {
            return Ok(Exit::Fine);
        }
        seen = match look() {
            Ok(seen) => seen,
            Err(failure) => Seen { rows: before.clone(), notes: vec![failure.to_string()] },
        };
    }
}
