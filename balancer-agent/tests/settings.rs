//! Settings are what the docs and the deployment say: each stands in one table of the code.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use balancer_agent::{config::Settings, model::Moving, settings::moving::ALL};
use serde_json::Value;

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of the table that begins with this head: their columns.
fn table(page: &str, head: &str) -> Vec<Vec<String>> {
    let lines = page.lines().skip_while(|line| *line != head).skip(2);
    let rows = lines.take_while(|line| line.starts_with('|'));
    let rows: Vec<Vec<_>> = rows
        .map(|row| {
            // A bar within a column is escaped.
            let row = row.trim_matches('|').replace("\\|", "\u{0}");
            row.split('|').map(|column| column.trim().replace('\u{0}', "|")).collect()
        })
        .collect();
    assert!(!rows.is_empty(), "no table under {head}");
    rows
}

/// The first text between backticks.
fn code(column: &str) -> Option<&str> {
    column.split('`').nth(1)
}

#[test]
fn the_docs_have_every_setting_of_moving_with_its_default() {
    let head =
        "| annotation | key of `moving` in the configuration | unless told otherwise | does |";
    let rows = table(&page("docs/moving.md"), head);
    let found: Vec<_> = rows
        .iter()
        .map(|row| [code(&row[0]), code(&row[1]), code(&row[2])].map(Option::unwrap_or_default))
        .map(|row| row.map(str::to_owned))
        .collect();
    // What follows from the protocol of the Service port has no one default: 50 ms is the least.
    let default = |written: Option<String>| written.unwrap_or_else(|| "50ms".to_owned());
    let want = ALL.map(|setting| {
        [setting.name.to_owned(), setting.key(), default(setting.written(Moving::DEFAULT))]
    });
    assert_eq!(found, want, "docs/moving.md");
}

#[test]
fn the_deployment_has_every_setting_of_moving() {
    let want: BTreeSet<_> = ALL.iter().map(|setting| format!("#{}", setting.key())).collect();
    for name in ["deploy/base/agent.yaml", "deploy/helm/balancer/values.yaml"] {
        let text = page(name);
        let lines = text.lines().skip_while(|line| line.trim() != "moving:").skip(1);
        let lines = lines.map(str::trim).take_while(|line| line.starts_with('#'));
        // Comments in words begin with a space.
        let keys = lines.filter(|line| !line.starts_with("# "));
        let found: BTreeSet<_> =
            keys.filter_map(|line| Some(line.split_once(": ")?.0.to_owned())).collect();
        assert_eq!(found, want, "{name}");
    }
    let schema: Value = serde_json::from_str(&page("deploy/helm/balancer/values.schema.json"))
        .expect("a schema of JSON");
    let moving = "/properties/config/properties/moving/properties";
    let keys = schema.pointer(moving).and_then(Value::as_object).expect("settings of moving");
    let found: BTreeSet<_> = keys.keys().map(|key| format!("#{key}")).collect();
    assert_eq!(found, want, "deploy/helm/balancer/values.schema.json");
}

/// The flags that `run --help` tells, each with its default where there is one fixed value.
fn flags() -> BTreeMap<String, Option<String>> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_balancer-agent"));
    let output = command.args(["run", "--help"]).output().expect("the agent");
    let text = String::from_utf8(output.stdout).expect("text");
    let options = text.split("\nOptions:\n").nth(1).expect("options");
    let options = options.split("\nExamples:").next().expect("an end");
    let joined = options.split_whitespace().collect::<Vec<_>>().join(" ");
    let flags = joined.split(" --").filter(|flag| !flag.starts_with("help"));
    flags
        .map(|flag| flag.trim_start_matches("--"))
        .filter_map(|flag| {
            let name = flag.split([' ', '[']).next().filter(|name| !name.is_empty())?;
            let default = flag.split("[default: ").nth(1).and_then(|rest| rest.split(']').next());
            Some((format!("--{name}"), default.map(str::to_owned)))
        })
        .collect()
}

#[test]
fn the_docs_have_every_flag_and_key_with_its_default() {
    let rows = table(&page("docs/operations.md"), "| flag | key in `--config` | default |");
    let keys: BTreeSet<_> = rows.iter().filter_map(|row| code(&row[1])).collect();
    let all = serde_json::to_value(Settings::default()).expect("JSON");
    let all = all.as_object().expect("a map");
    let known: BTreeSet<_> = all.keys().map(String::as_str).collect();
    assert_eq!(keys, known, "docs/operations.md: keys");
    let mut flags = flags();
    assert_eq!(flags.remove("--config"), Some(None), "the file itself: {flags:?}");
    for row in rows.iter().filter(|row| !row[0].is_empty()) {
        let name = code(&row[0]).and_then(|flag| flag.split(' ').next()).expect("a flag");
        let told = flags.remove(name).unwrap_or_else(|| panic!("{name} is no flag: {flags:?}"));
        let documented = row[2].replace('`', "");
        if let Some(told) = told {
            // The docs may say more of it, and where.
            let is_told = documented.contains(told.split(", ").next().expect("a part"));
            assert!(is_told, "{name}: {told:?} in --help, {documented:?} in docs/operations.md");
        }
    }
    assert!(flags.is_empty(), "docs/operations.md has no {flags:?}");
}
