//! What a bench found, as data.

use serde_json::{Map, Value, json};

use super::stats::Spread;

/// One bench.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its name on the command line.
    pub name: &'static str,
    /// What was done, in a few sentences.
    pub what: String,
    /// The tables.
    pub tables: Vec<Table>,
    /// What to know when reading them.
    pub notes: Vec<String>,
    /// The values of each round.
    pub raw: Value,
}

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    /// What it shows.
    pub caption: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows, a cell for each column.
    pub rows: Vec<Vec<Cell>>,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its key in JSON, with the unit.
    pub key: &'static str,
    /// Its head, with the unit.
    pub head: &'static str,
}

/// A cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Words.
    Text(String),
    /// A number of things.
    Count(u64),
    /// A value, and the digits after its point that mean something.
    Number(f64, usize),
    /// A ratio over the rounds.
    Ratio(Spread),
    /// Nothing to say.
    Absent,
}

impl Report {
    /// The report for programs.
    pub fn json(&self) -> Value {
        json!({
            "name": self.name,
            "what": self.what,
            "tables": self.tables.iter().map(Table::json).collect::<Vec<_>>(),
            "notes": self.notes,
            "rounds": self.raw,
        })
    }
}

impl Table {
    /// A table whose rows say what was measured, how much that was, in which unit, and how much it
    /// should be.
    pub(super) fn of_targets(caption: String, rows: Vec<Vec<Cell>>) -> Self {
        let names = ["what", "measured", "unit", "target"];
        Self { caption, columns: names.map(|name| Column { key: name, head: name }).into(), rows }
    }

    fn json(&self) -> Value {
        let row = |cells: &Vec<Cell>| -> Map<String, Value> {
            let keys = self.columns.iter().map(|column| column.key.to_owned());
            keys.zip(cells.iter().map(Cell::json)).collect()
        };
        json!({"caption": self.caption, "rows": self.rows.iter().map(row).collect::<Vec<_>>()})
    }
}

impl Cell {
    fn json(&self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Count(count) => json!(count),
            Self::Number(value, _) => json!(value),
            Self::Ratio(spread) => json!(spread),
            Self::Absent => Value::Null,
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_objects() {
        let table = Table {
            caption: "Times".into(),
            columns: vec![
                Column { key: "variant", head: "variant" },
                Column { key: "p50_us", head: "p50 (µs)" },
            ],
            rows: vec![
                vec!["direct".into(), Cell::Number(1.25, 1)],
                vec!["x".into(), Cell::Absent],
            ],
        };
        assert_eq!(
            table.json(),
            json!({"caption": "Times", "rows": [
                {"variant": "direct", "p50_us": 1.25}, {"variant": "x", "p50_us": null}
            ]})
        );
    }
}
