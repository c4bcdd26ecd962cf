//! docs/cli.md is what every verb says of itself; `BLESS=1` writes it.

use std::{env, fmt::Write as _, fs, path::Path, process::Command};

use crate::{VERBS, finish};

const BEGIN: &str = "\
# Command line

What `balancer-agent --help` says, and each verb with `--help`. [operations.md](operations.md) says what to do with
them. This page is written by `BLESS=1 cargo test -p balancer-agent --test cli reference`, and a test compares it.
";

fn help(args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_balancer-agent"));
    // Whoever runs the tests may have a narrow terminal, or another configuration.
    let command = command.args(args).arg("--help").env("COLUMNS", "100").env_remove("NODE_NAME");
    let text = finish(command).with(0).out;
    let lines: Vec<_> = text.trim_end().lines().map(str::trim_end).collect();
    lines.join("\n")
}

#[test]
fn every_verb_is_in_the_reference() {
    let mut page = BEGIN.to_owned();
    let _ = write!(page, "\n```text\n{}\n```\n", help(&[]));
    for verb in VERBS {
        let _ = write!(page, "\n## {verb}\n\n```text\n{}\n```\n", help(&[verb]));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    if env::var_os("BLESS").is_some() {
        fs::write(&path, &page).expect("written");
    }
    let kept = fs::read_to_string(&path).expect("docs/cli.md; BLESS=1 writes it");
    assert!(kept == page, "docs/cli.md says otherwise: run this test with BLESS=1");
}
