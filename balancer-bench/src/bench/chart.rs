//! Columns of tables as bars, for the documentation.

use std::fmt::Write as _;

use super::report::{Cell, Report, Table};

/// What is drawn: a bench, the number of its table, the key of the column, and what the bars are.
const CHARTS: [(&str, usize, &str, &str); 4] = [
    ("connect", 0, "p50_of_bare", "p50 of connect(), no programs anywhere is 1"),
    ("traffic", 0, "exchange_p50_ratio", "p50 of an exchange, direct is 1"),
    ("choice", 0, "connect4_above_ns", "connect4 above an empty program, ns"),
    ("balance", 0, "gap_mean", "most minus least connections, mean"),
];
/// Height of a row.
const ROW: usize = 18;
/// Where bars begin, how long they are, and the room for numbers behind them.
const LABELS: usize = 330;
const BARS: f64 = 330.0;
const NUMBERS: usize = 60;

/// The charts of a report: names of files, and SVG.
pub fn charts(report: &Report) -> Vec<(String, String)> {
    let of_report = CHARTS.iter().filter(|(bench, ..)| *bench == report.name);
    let drawn = of_report.filter_map(|&(bench, table, key, title)| {
        Some((format!("{bench}.svg"), draw(report.tables.get(table)?, key, title)?))
    });
    drawn.collect()
}

/// A bar, and from where to where the middle half of the rounds goes.
struct Bar {
    label: String,
    value: f64,
    middle: Option<(f64, f64)>,
}

fn draw(table: &Table, key: &str, title: &str) -> Option<String> {
    let column = table.columns.iter().position(|column| column.key == key)?;
    let bars: Vec<Bar> = table.rows.iter().filter_map(|row| bar(row, column)).collect();
    let longest = bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    let length = |value: f64| (value / longest).min(1.0) * BARS;
    let (width, height) = (LABELS + BARS as usize + NUMBERS, (bars.len() + 2) * ROW);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <style>text {{ fill: #444 }} @media (prefers-color-scheme: dark) {{ text {{ fill: #ccc }} \
         }}</style>\n<text x=\"0\" y=\"{}\" font-weight=\"bold\">{title}</text>\n",
        ROW - 5
    );
    for (index, Bar { label, value, middle }) in bars.iter().enumerate() {
        let (top, text) = ((index + 1) * ROW + 3, (index + 2) * ROW - 5);
        let colour = if label.contains("balancer") { "#2a7f62" } else { "#8b97a8" };
        let end = length(*value);
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{label}</text>\n\
             <rect x=\"{LABELS}\" y=\"{top}\" width=\"{end:.1}\" height=\"{}\" fill=\"{colour}\"/>\n",
            LABELS - 8,
            ROW - 4
        );
        if let Some((low, high)) = middle {
            let [low, high] = [low, high].map(|value| LABELS as f64 + length(*value));
            let middle = top + ROW / 2 - 2;
            let _ = writeln!(
                svg,
                "<line x1=\"{low:.1}\" x2=\"{high:.1}\" y1=\"{middle}\" y2=\"{middle}\" \
                 stroke=\"#d08c2e\" stroke-width=\"2\"/>"
            );
        }
        let digits = if *value < 100.0 { 2 } else { 0 };
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{text}\">{value:.digits$}</text>",
            LABELS as f64 + end + 6.0
        );
    }
    Some(svg + "</svg>\n")
}

/// What stands before the number in its row says what it is of.
fn bar(row: &[Cell], column: usize) -> Option<Bar> {
    let label = row[..column].iter().filter_map(|cell| match cell {
        Cell::Text(text) => Some(text.clone()),
        Cell::Count(count) => Some(count.to_string()),
        Cell::Number(..) | Cell::Ratio(_) | Cell::Absent => None,
    });
    let (value, middle) = match row[column] {
        Cell::Number(value, _) => (value, None),
        Cell::Ratio(spread) => (spread.median, Some((spread.low, spread.high))),
        Cell::Count(count) => (count as f64, None),
        Cell::Text(_) | Cell::Absent => return None,
    };
    Some(Bar { label: label.collect::<Vec<_>>().join(", "), value, middle })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{report::Column, stats::Spread};

    #[test]
    fn each_row_with_a_number_is_a_bar() {
        let spread = Spread { median: 2.0, low: 1.5, high: 2.5 };
        let column = |key| Column { key, head: key };
        let table = Table {
            caption: "Fresh connections".into(),
            columns: ["variant", "services", "p50_us", "p50_of_bare"].map(column).into(),
            rows: vec![
                vec!["direct".into(), Cell::Absent, Cell::Number(20.0, 2), Cell::Number(1.0, 2)],
                vec!["balancer".into(), Cell::Count(10), Cell::Absent, Cell::Ratio(spread)],
                vec!["nothing".into(), Cell::Absent, Cell::Absent, Cell::Absent],
            ],
        };
        let report = Report {
            name: "connect",
            what: String::new(),
            tables: vec![table],
            notes: Vec::new(),
            raw: serde_json::Value::Null,
        };
        let [(file, svg)] = &charts(&report)[..] else { panic!("one chart") };
        assert_eq!(file, "connect.svg");
        assert_eq!((svg.matches("<rect").count(), svg.matches("<line").count()), (2, 1), "{svg}");
        assert!(svg.contains(">balancer, 10<") && svg.contains("width=\"165.0\""), "{svg}");
    }
}
