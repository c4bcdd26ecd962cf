//! What stands in which column of `top`, on the screen and in lines.

mod backends;
mod connections;
mod services;

pub use self::{
    backends::{BACKENDS, BackendRow},
    connections::CONNECTIONS,
    services::SERVICES,
};
use crate::render::Key;

/// How a cell looks where there are colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// As any text.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// To be looked at.
    Warning,
    /// Wrong.
    Bad,
    /// A bar.
    Drawing,
}

/// One column of rows of type `T`.
pub struct Column<T> {
    /// Its header; in lower case its name for `--sort`.
    pub name: &'static str,
    /// Where there is no room, columns with the highest rank go first; 0 stays.
    pub rank: u8,
    /// True where it may be that nothing is known for any row: then it goes before all others.
    pub is_rare: bool,
    /// True for numbers, which stand at the right and are sorted from the largest.
    pub is_number: bool,
    /// What it shows.
    pub text: fn(&T) -> String,
    /// What it is sorted by; none where that makes no sense.
    pub key: Option<fn(&T) -> Key>,
    /// How it looks.
    pub tone: fn(&T) -> Tone,
}

const fn text<T>(
    name: &'static str,
    rank: u8,
    text: fn(&T) -> String,
    key: fn(&T) -> Key,
) -> Column<T> {
    Column {
        name,
        rank,
        is_rare: false,
        is_number: false,
        text,
        key: Some(key),
        tone: |_| Tone::Plain,
    }
}

const fn number<T>(
    name: &'static str,
    rank: u8,
    text: fn(&T) -> String,
    key: fn(&T) -> Key,
    tone: fn(&T) -> Tone,
) -> Column<T> {
    Column { name, rank, is_rare: false, is_number: true, text, key: Some(key), tone }
}

const fn rare<T>(mut column: Column<T>) -> Column<T> {
    column.is_rare = true;
    column
}

const fn plain<T>(_: &T) -> Tone {
    Tone::Plain
}

fn failing(per_second: Option<f64>) -> Tone {
    if per_second.is_some_and(|number| number > 0.0) { Tone::Bad } else { Tone::Plain }
}

fn thousandths(number: Option<f64>) -> Key {
    number.map(|number| (number * 1_000.0) as u64).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_a_name_of_its_own_and_the_first_one_stays() {
        fn check<T>(columns: &[Column<T>]) {
            let mut names: Vec<_> = columns.iter().map(|column| column.name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), columns.len());
            assert_eq!(columns[0].rank, 0);
        }
        check(SERVICES);
        check(BACKENDS);
        check(CONNECTIONS);
    }
}
