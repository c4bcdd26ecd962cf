//! What keys do: which level is shown, in which order, filtered by what, and which row is chosen. Pure.

use std::net::SocketAddr;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{
    columns::{BACKENDS, CONNECTIONS, SERVICES},
    order::Order,
    port::PortKey,
    row::Id,
};

/// Rows by which Page Up and Page Down move.
const PAGE: usize = 10;

/// What is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Level {
    /// All Service ports.
    Services,
    /// The backends of one.
    Backends(PortKey),
    /// Its connections: those to one backend, or all.
    Connections(PortKey, Option<SocketAddr>),
}

/// What is to be done beyond the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Do {
    /// Draw.
    Draw,
    /// End.
    Quit,
}

/// Everything that keys change.
#[derive(Clone, Debug)]
pub struct State {
    /// What is shown.
    pub level: Level,
    /// The order of each level: Services, backends, connections.
    pub orders: [Order; 3],
    /// Rows without this text are not shown.
    pub filter: String,
    /// True while the filter is typed.
    pub is_typing: bool,
    /// True while the keys are explained.
    pub shows_help: bool,
    /// The row that is chosen; the first where none is.
    pub chosen: Option<Id>,
    /// Where lists began to be drawn: stays as long as the chosen row is in sight.
    pub offset: usize,
    /// What is shown alone, beyond which Escape does not lead.
    pub root: Level,
}

impl State {
    /// Services, sorted by this column; or one Service, where it has one port alone.
    pub fn new(order: Order, root: Level) -> Self {
        Self {
            level: root.clone(),
            orders: [order, Order::by(BACKENDS, 2), Order::by(CONNECTIONS, 6)],
            filter: String::new(),
            is_typing: false,
            shows_help: false,
            chosen: None,
            offset: 0,
            root,
        }
    }

    /// The order of what is shown.
    pub const fn order(&self) -> Order {
        self.orders[self.nth()]
    }

    const fn nth(&self) -> usize {
        match self.level {
            Level::Services => 0,
            Level::Backends(_) => 1,
            Level::Connections(..) => 2,
        }
    }

    /// The Service whose connections are shown.
    pub fn focus(&self) -> Option<(String, String)> {
        match &self.level {
            Level::Services => None,
            Level::Backends(port) | Level::Connections(port, _) => {
                Some((port.namespace.clone(), port.service.clone()))
            }
        }
    }

    /// Does what a key says, where `rows` are shown.
    pub fn key(&mut self, key: KeyEvent, rows: &[Id]) -> Do {
        if key.kind == KeyEventKind::Release {
            return Do::Draw;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Do::Quit;
        }
        if self.is_typing {
            self.type_filter(key.code);
            return Do::Draw;
        }
        if std::mem::take(&mut self.shows_help) {
            return Do::Draw;
        }
        match key.code {
            KeyCode::Char('q') => return Do::Quit,
            KeyCode::Char('?') => self.shows_help = true,
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Char('s') => self.reorder(true),
            KeyCode::Char('S') => self.reorder(false),
            KeyCode::Char('r') => {
                let order = &mut self.orders[self.nth()];
                order.descending = !order.descending;
            }
            KeyCode::Char('c') => self.open_all(rows),
            KeyCode::Enter | KeyCode::Right => self.open(rows),
            KeyCode::Esc | KeyCode::Left | KeyCode::Backspace => self.back(),
            KeyCode::Down | KeyCode::Char('j') => self.choose(rows, |at| at.saturating_add(1)),
            KeyCode::Up | KeyCode::Char('k') => self.choose(rows, |at| at.saturating_sub(1)),
            KeyCode::PageDown => self.choose(rows, |at| at.saturating_add(PAGE)),
            KeyCode::PageUp => self.choose(rows, |at| at.saturating_sub(PAGE)),
            KeyCode::Home => self.choose(rows, |_| 0),
            KeyCode::End => self.choose(rows, |_| usize::MAX),
            _ => {}
        }
        Do::Draw
    }

    /// Which of the rows is chosen.
    pub fn at(&self, rows: &[Id]) -> usize {
        let chosen = self.chosen.as_ref();
        chosen.and_then(|id| rows.iter().position(|row| row == id)).unwrap_or_default()
    }

    fn type_filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Char(letter) => self.filter.push(letter),
            KeyCode::Backspace if self.filter.is_empty() => self.is_typing = false,
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.filter.clear();
                self.is_typing = false;
            }
            _ => {}
        }
    }

    fn reorder(&mut self, forth: bool) {
        let order = self.order();
        self.orders[self.nth()] = match self.level {
            Level::Services => order.next(SERVICES, forth),
            Level::Backends(_) => order.next(BACKENDS, forth),
            Level::Connections(..) => order.next(CONNECTIONS, forth),
        };
    }

    fn choose(&mut self, rows: &[Id], to: impl Fn(usize) -> usize) {
        if let Some(last) = rows.len().checked_sub(1) {
            self.chosen = Some(rows[to(self.at(rows)).min(last)].clone());
        }
    }

    fn open(&mut self, rows: &[Id]) {
        match (&self.level, rows.get(self.at(rows))) {
            (Level::Services, Some(Id::Port(port))) => self.go(Level::Backends(port.clone()), None),
            (Level::Backends(port), Some(Id::Backend(backend))) => {
                self.go(Level::Connections(port.clone(), Some(*backend)), None);
            }
            _ => {}
        }
    }

    /// The connections of the whole Service port.
    fn open_all(&mut self, rows: &[Id]) {
        match (&self.level, rows.get(self.at(rows))) {
            (Level::Services, Some(Id::Port(port))) => {
                self.go(Level::Connections(port.clone(), None), None);
            }
            (Level::Backends(port), _) => self.go(Level::Connections(port.clone(), None), None),
            _ => {}
        }
    }

    /// Clears the filter, or else goes one level up, where that is within what is shown.
    fn back(&mut self) {
        if !self.filter.is_empty() {
            self.filter.clear();
            return;
        }
        if self.level == self.root {
            return;
        }
        match self.level.clone() {
            Level::Services => {}
            Level::Backends(port) => self.go(Level::Services, Some(Id::Port(port))),
            Level::Connections(port, backend) => {
                self.go(Level::Backends(port), backend.map(Id::Backend));
            }
        }
    }

    fn go(&mut self, level: Level, chosen: Option<Id>) {
        (self.level, self.chosen, self.offset) = (level, chosen, 0);
        self.filter.clear();
    }
}

#[cfg(test)]
mod tests;
