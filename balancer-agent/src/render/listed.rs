//! Views of which there are many: tables that can be sorted by their columns.

use std::net::SocketAddr;

use serde::Serialize;

use super::{Output, RenderError, table::Sheet, text};

/// What rows are compared by. Rows without a value come last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A count, a port, or milliseconds.
    Number(u64),
    /// A name.
    Text(String),
    /// An address with its port.
    Address(SocketAddr),
    /// The row shows `-`.
    Absent,
}

impl From<u64> for Key {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<&String> for Key {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<SocketAddr> for Key {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address)
    }
}

impl<T: Into<Key>> From<Option<T>> for Key {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Into::into)
    }
}

/// Name of a column in lower case, and what its cells are compared by.
pub type Column<T> = (&'static str, fn(&T) -> Key);

/// One row of a table.
pub trait Listed: Serialize + Sized + 'static {
    /// Every column that has a name, in the order of the table.
    const COLUMNS: &'static [Column<Self>];

    /// The namespace that the row belongs to.
    fn namespace(&self) -> &str;

    /// What the row is known by from one look to the next.
    fn id(&self) -> String;

    /// False where it is as it was before, but for what changes by itself, such as ages.
    fn differs(&self, before: &Self) -> bool;

    /// The table of rows, in the order given; `wide` adds columns.
    fn sheet(rows: &[Self], wide: bool) -> Sheet;
}

/// Sorts ascending by a column, whose name is one of [`Listed::COLUMNS`] in any case. Rows that are
/// equal in it keep their order. Another name changes nothing.
pub fn sort<T: Listed>(rows: &mut [T], column: &str) {
    let found = T::COLUMNS.iter().find(|(name, _)| name.eq_ignore_ascii_case(column));
    if let Some((_, key)) = found {
        rows.sort_by_cached_key(key);
    }
}

/// The text of rows; a table has its header where `headers` is true.
pub fn list<T: Listed>(output: Output, rows: &[T], headers: bool) -> Result<String, RenderError> {
    text(output, rows, |rows, wide| T::sheet(rows, wide).draw(headers))
}
