//! In which order rows stand. Pure.

use super::columns::Column;
use crate::render::Key;

/// The order of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Index of the column.
    pub column: usize,
    /// True where the largest comes first.
    pub descending: bool,
}

impl Order {
    /// By a column: numbers from the largest, texts from A.
    pub fn by<T>(columns: &[Column<T>], column: usize) -> Self {
        Self { column, descending: columns[column].is_number }
    }

    /// By the column of this name in any case.
    pub fn named<T>(columns: &[Column<T>], name: &str) -> Option<Self> {
        let found = columns.iter().position(|column| column.name.eq_ignore_ascii_case(name))?;
        columns[found].key.map(|_| Self::by(columns, found))
    }

    /// By the next column that can be sorted by, or the one before.
    pub fn next<T>(self, columns: &[Column<T>], forth: bool) -> Self {
        let step = if forth { 1 } else { columns.len() - 1 };
        let mut column = self.column;
        loop {
            column = (column + step) % columns.len();
            if columns[column].key.is_some() {
                return Self::by(columns, column);
            }
        }
    }

    /// Sorts rows; those without a value come last either way, and equal ones keep their order.
    pub fn sort<T>(self, columns: &[Column<T>], rows: &mut [T]) {
        let Some(key) = columns[self.column].key else { return };
        rows.sort_by(|a, b| {
            let (a, b) = (key(a), key(b));
            let absent = (a == Key::Absent).cmp(&(b == Key::Absent));
            absent.then_with(|| if self.descending { b.cmp(&a) } else { a.cmp(&b) })
        });
    }
}
