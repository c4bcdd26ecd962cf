//! The loop of the screen: waits for keys, looks and signals, and draws after each.

use std::{
    io,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use crossterm::event::{Event, EventStream};
use futures_util::StreamExt as _;
use ratatui::DefaultTerminal;
use tokio::{
    select,
    signal::unix::{SignalKind, signal},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

use super::{
    gather::{Ask, Gather, Gathered},
    guard::Guard,
    model::Model,
    page::Page,
    screen::{self, Theme},
    state::{Do, State},
};

/// What the thread that looks has seen, or why it could not.
type Seen = Result<Gathered, String>;
/// Whose connections are looked at: namespace and name of a Service, or all.
type Focus = Option<(String, String)>;

/// Shows a screen on the terminal at standard output until a key or a signal ends it. `first` was seen
/// before; `gather` looks again after each interval.
pub fn show<A: Ask + Send + 'static>(
    gather: Gather<A>,
    first: Gathered,
    state: State,
    interval: Duration,
    theme: Theme,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Signals are awaited before the terminal is taken: none of them ends it in between.
    let mut signals = runtime.block_on(async { Signals::new() })?;
    let guard = Guard::start()?;
    let (told, seen) = unbounded_channel();
    let (focus, focused) = mpsc::channel();
    let looker = move || look(gather, interval, &focused, &told);
    thread::Builder::new().name("look".to_owned()).spawn(looker)?;
    let mut screen = Screen::new(first, state, theme);
    let done = match ratatui::try_init() {
        Ok(terminal) => runtime.block_on(screen.run(terminal, seen, &focus, &mut signals)),
        Err(error) => Err(error),
    };
    // Where the terminal is gone, nobody sees what it is like.
    let restored = ratatui::try_restore()
        .and_then(|()| crossterm::execute!(io::stdout(), crossterm::cursor::Show));
    // It restores what could not be restored here.
    if restored.is_ok() {
        guard.dismiss()?;
    }
    done
}

/// Signals that ask a program to end.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn any(&mut self) {
        select! {
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Looks after each interval, and at once where another Service comes into focus, until nobody listens.
fn look<A: Ask>(
    mut gather: Gather<A>,
    interval: Duration,
    focused: &mpsc::Receiver<Focus>,
    told: &UnboundedSender<Seen>,
) {
    let mut focus = None;
    loop {
        match focused.recv_timeout(interval) {
            Ok(next) => focus = next,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let seen = gather.next(focus.as_ref()).map_err(|error| error.to_string());
        if told.send(seen).is_err() {
            return;
        }
    }
}

struct Screen {
    model: Model,
    state: State,
    theme: Theme,
    note: Option<String>,
}

impl Screen {
    fn new(first: Gathered, state: State, theme: Theme) -> Self {
        let mut screen = Self { model: Model::default(), state, theme, note: None };
        screen.take(Ok(first));
        screen
    }

    fn take(&mut self, seen: Seen) {
        match seen {
            Ok(Gathered { sample, look, away }) => {
                self.model.take(sample, look);
                self.note = away;
            }
            // What was seen last stays, and is said to be old.
            Err(error) => self.note = Some(format!("{error}: showing what was seen before")),
        }
    }

    async fn run(
        &mut self,
        mut terminal: DefaultTerminal,
        mut seen: UnboundedReceiver<Seen>,
        focus: &mpsc::Sender<Focus>,
        signals: &mut Signals,
    ) -> io::Result<()> {
        let mut events = EventStream::new();
        loop {
            let Self { model, state, theme, note } = self;
            terminal.draw(|frame| screen::draw(frame, model, state, *theme, note.as_deref()))?;
            select! {
                () = signals.any() => return Ok(()),
                Some(seen) = seen.recv() => self.take(seen),
                event = events.next() => match event {
                    Some(Ok(Event::Key(key))) => {
                        let before = self.state.focus();
                        let ids = Page::of(&self.model, &self.state).ids();
                        if self.state.key(key, &ids) == Do::Quit {
                            return Ok(());
                        }
                        if before != self.state.focus() {
                            // The thread ends with this loop alone.
                            let _ = focus.send(self.state.focus());
                        }
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error),
                    None => return Ok(()),
                },
            }
        }
    }
}
