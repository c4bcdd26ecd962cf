//! Reports for people: on a terminal, and as the tables of the documentation.

use std::fmt::Write;

use super::{
    environment::Environment,
    report::{Cell, Report, Table},
    stats::Spread,
};

/// How a report is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// Columns aligned with blanks.
    Plain,
    /// Markdown.
    Markdown,
}

/// Columns of running text.
const WIDTH: usize = 100;

/// The machine's facts.
pub fn environment(environment: &Environment, form: Form) -> String {
    let mut text = match form {
        Form::Plain => String::new(),
        Form::Markdown => "### The machine\n\n".to_owned(),
    };
    for (name, value) in &environment.facts {
        let _ = match form {
            Form::Plain => writeln!(text, "{name:16} {value}"),
            Form::Markdown => writeln!(text, "- {name}: {value}"),
        };
    }
    text + "\n"
}

/// A report.
pub fn report(report: &Report, form: Form) -> String {
    let (name, what) = (report.name, &report.what);
    let mut text = match form {
        Form::Plain => format!("{}\n", wrapped(&format!("{name}: {what}"), "", "")),
        Form::Markdown => {
            let what = wrapped(what, "", "");
            format!("### {name}\n\n`cargo xtask bench {name}`\n\n{what}\n")
        }
    };
    for table in &report.tables {
        let caption = &table.caption;
        let _ = match form {
            Form::Plain => write!(text, "{caption}\n{}\n", aligned(table, form)),
            Form::Markdown => write!(text, "{caption}:\n\n{}\n", aligned(table, form)),
        };
    }
    for note in &report.notes {
        text += &wrapped(note, "- ", "  ");
    }
    if report.notes.is_empty() { text } else { text + "\n" }
}

/// Lines of at most [`WIDTH`] columns; `first` begins the first of them, `rest` the others.
fn wrapped(text: &str, first: &str, rest: &str) -> String {
    let (mut lines, mut line) = (String::new(), first.to_owned());
    for word in text.split(' ') {
        if line.chars().count() + word.chars().count() >= WIDTH {
            let _ = writeln!(lines, "{}", line.trim_end());
            line = rest.to_owned();
        }
        let _ = write!(line, "{word} ");
    }
    lines + line.trim_end() + "\n"
}

/// Words to the left, numbers to the right.
fn aligned(table: &Table, form: Form) -> String {
    let cells: Vec<Vec<String>> =
        table.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    let mut text = String::new();
    let columns: Vec<(usize, bool)> = table
        .columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let widths = cells.iter().map(|row| row[index].chars().count());
            let width = widths.chain([column.head.chars().count()]).max().unwrap_or(0);
            (width, table.rows.iter().any(|row| matches!(row[index], Cell::Text(_))))
        })
        .collect();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&columns).map(|(cell, &(width, words))| {
            if words { format!("{cell:width$}") } else { format!("{cell:>width$}") }
        });
        let padded: Vec<String> = padded.collect();
        let _ = match form {
            Form::Plain => writeln!(text, "  {}", padded.join("   ").trim_end()),
            Form::Markdown => writeln!(text, "| {} |", padded.join(" | ")),
        };
    };
    line(&mut table.columns.iter().map(|column| column.head));
    if form == Form::Markdown {
        let rule = |&(width, words): &(usize, bool)| {
            if words { "-".repeat(width) } else { format!("{}:", "-".repeat(width - 1)) }
        };
        let rules: Vec<String> = columns.iter().map(rule).collect();
        line(&mut rules.iter().map(String::as_str));
    }
    for row in &cells {
        line(&mut row.iter().map(String::as_str));
    }
    text
}

fn cell(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => text.clone(),
        Cell::Count(count) => thousands(&count.to_string()),
        Cell::Number(value, digits) => thousands(&format!("{value:.digits$}")),
        Cell::Ratio(Spread { median, low, high }) => format!("{median:.2} ({low:.2}-{high:.2})"),
        Cell::Absent => String::new(),
    }
}

/// `12345.6` as `12,345.6`.
fn thousands(number: &str) -> String {
    let (whole, rest) = number.split_at(number.find('.').unwrap_or(number.len()));
    let mut text = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::Column;

    fn table() -> Table {
        Table {
            caption: "Times".into(),
            columns: vec![
                Column { key: "variant", head: "variant" },
                Column { key: "rate", head: "connects/s" },
            ],
            rows: vec![
                vec!["direct".into(), Cell::Number(12345.67, 1)],
                vec!["x".into(), Cell::Absent],
            ],
        }
    }

    #[test]
    fn plain_tables_are_aligned() {
        let expected = "  variant   connects/s\n  direct      12,345.7\n  x\n";
        assert_eq!(aligned(&table(), Form::Plain), expected);
    }

    #[test]
    fn markdown_tables_align_numbers_right() {
        let expected = "| variant | connects/s |\n\
                        | ------- | ---------: |\n\
                        | direct  |   12,345.7 |\n\
                        | x       |            |\n";
        assert_eq!(aligned(&table(), Form::Markdown), expected);
    }

    #[test]
    fn long_text_is_wrapped_between_words() {
        let text = wrapped(&"word ".repeat(30), "- ", "  ");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].starts_with("- word") && lines[1].starts_with("  word"), "{text}");
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{text}");
    }

    #[test]
    fn thousands_are_grouped_before_the_point() {
        let grouped = ["0", "999.25", "1000", "-100000.5"].map(thousands);
        assert_eq!(grouped, ["0", "999.25", "1,000", "-100,000.5"]);
    }
}
