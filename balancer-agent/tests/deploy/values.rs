//! The table of the values in the chart's README is made of `values.yaml`; `BLESS=1` writes it.

use std::{env, fs};

use crate::deploy;

const BEGINS: &str = "<!-- values.yaml begins -->\n";
const ENDS: &str = "<!-- values.yaml ends -->";

/// A value with its default and what stands above it.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    path: String,
    default: String,
    about: String,
}

/// The values in their order: each key that has a comment above it, or is a setting that is commented
/// out. What a key has below it is its default, unless one of these has a comment of its own.
fn rows(text: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut path: Vec<&str> = Vec::new();
    let mut about = String::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let trimmed = line.trim_start();
        let depth = (line.len() - trimmed.len()) / 2;
        if let Some(comment) = trimmed.strip_prefix("# ") {
            about = format!("{about} {comment}").trim_start().to_owned();
            continue;
        }
        let setting = trimmed.strip_prefix('#').unwrap_or(trimmed);
        let (key, default) = setting.split_once(':').unwrap_or((setting, ""));
        path.truncate(depth);
        path.push(key);
        let path = path.join(".");
        let is_setting = trimmed.starts_with('#') || path.starts_with("config.");
        if about.is_empty() && !is_setting {
            if let Some(above) = rows.last_mut().filter(|_| !default.is_empty()) {
                let separator = if above.default.is_empty() { "" } else { ", " };
                above.default = format!("{}{separator}{setting}", above.default);
            }
            continue;
        }
        let default = default.trim().to_owned();
        rows.push(Row { path, default, about: std::mem::take(&mut about) });
    }
    rows
}

fn table(rows: &[Row]) -> String {
    let mut table = "| value | default, or an example | is |\n|---|---|---|\n".to_owned();
    for row in rows {
        let default = match row.default.as_str() {
            "" => String::new(),
            default => format!("`{default}`"),
        };
        table += &format!("| `{}` | {default} | {} |\n", row.path, row.about.replace('|', "\\|"));
    }
    table
}

#[test]
fn the_table_of_values_is_that_of_the_file() {
    let chart = deploy().join("helm/balancer");
    let values = fs::read_to_string(chart.join("values.yaml")).expect("a file");
    let mut values = rows(&values);
    // What a setting of the agent is about stands with the agent's settings.
    let settings = fs::read_to_string(deploy().join("base/agent.yaml")).expect("a file");
    let settings = rows(&settings);
    for row in values.iter_mut().filter(|row| row.about.is_empty()) {
        let same = settings.iter().find(|setting| row.path == format!("config.{}", setting.path));
        row.about = same.map(|setting| setting.about.clone()).unwrap_or_default();
    }
    let want = table(&values);
    let page = chart.join("README.md");
    let text = fs::read_to_string(&page).expect("a file");
    let (before, rest) = text.split_once(BEGINS).expect("where the table begins");
    let (kept, after) = rest.split_once(ENDS).expect("where the table ends");
    if env::var_os("BLESS").is_some() {
        fs::write(&page, format!("{before}{BEGINS}{want}{ENDS}{after}")).expect("written");
        return;
    }
    assert_eq!(kept, want, "{}: run this test with BLESS=1", page.display());
}

#[test]
fn a_value_has_what_stands_above_and_below_it() {
    let text = "# The image.\nimage:\n  # Its tag,\n  # if any.\n  tag: \"\"\n\n# Of nodes.\n\
                selector:\n  os: linux\n  at: home\n# Settings.\nconfig:\n  # Where.\n  #socket: /run/a\n  #room: 1\n";
    let row = |path: &str, default: &str, about: &str| Row {
        path: path.into(),
        default: default.into(),
        about: about.into(),
    };
    let want = [
        row("image", "", "The image."),
        row("image.tag", "\"\"", "Its tag, if any."),
        row("selector", "os: linux, at: home", "Of nodes."),
        row("config", "", "Settings."),
        row("config.socket", "/run/a", "Where."),
        row("config.room", "1", ""),
    ];
    assert_eq!(rows(text), want);
}
