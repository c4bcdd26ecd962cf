//! Tables as kubectl draws them: upper-case headers, three blanks between columns, no lines.
//!
//! Colours are always drawn; the stream they are printed to drops them where it is no terminal.

use comfy_table::{Attribute, Cell, Color, Table, presets};

use crate::view::BackendState;

const GAP: u16 = 3;

/// A table that is not drawn yet.
pub struct Sheet {
    header: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Sheet {
    pub(super) const fn new(header: Vec<&'static str>, rows: Vec<Vec<Cell>>) -> Self {
        Self { header, rows }
    }

    /// A table of plain texts.
    pub fn plain(header: Vec<&'static str>, rows: Vec<Vec<String>>) -> Self {
        let cells = |row: Vec<String>| row.into_iter().map(cell).collect();
        Self::new(header, rows.into_iter().map(cells).collect())
    }

    /// The same with columns before the others.
    #[must_use]
    pub(super) fn led_by<const N: usize>(
        mut self,
        header: &[&'static str; N],
        cells: Vec<[&str; N]>,
    ) -> Self {
        self.header.splice(0..0, header.iter().copied());
        for (row, led) in self.rows.iter_mut().zip(cells) {
            row.splice(0..0, led.map(cell));
        }
        self
    }

    /// The text of the table; without `headers` its rows alone, which may be none.
    pub fn draw(self, headers: bool) -> String {
        if headers {
            return table(&self.header, self.rows);
        }
        if self.rows.is_empty() {
            return String::new();
        }
        draw(Table::new(), self.rows)
    }
}

/// A table with a header and rows.
pub(super) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<Cell>>) -> String {
    let mut table = Table::new();
    table.set_header(header.iter().map(|name| Cell::new(name).add_attribute(Attribute::Bold)));
    draw(table, rows)
}

fn draw(mut table: Table, rows: impl IntoIterator<Item = Vec<Cell>>) -> String {
    table.load_style(presets::NOTHING).enforce_styling();
    table.style_text_only();
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

/// A cell of plain text. Control characters, which could move the cursor, are shown as blanks.
#[expect(clippy::needless_pass_by_value, reason = "callers have temporaries as well as references")]
pub(super) fn cell<T: ToString>(text: T) -> Cell {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    Cell::new_owned(text.to_string().chars().map(clean).collect())
}

/// A cell that is `-` where there is nothing to show.
pub(super) fn optional(text: Option<impl ToString>) -> Cell {
    text.map_or_else(|| cell("-"), cell)
}

/// How a state of a backend looks.
pub(super) fn state(state: BackendState) -> Cell {
    cell(state.name()).fg(match state {
        BackendState::Ready => Color::Green,
        BackendState::Suspect | BackendState::NotReady => Color::Red,
        BackendState::Terminating | BackendState::Draining => Color::Yellow,
    })
}
