//! From YAML to map entries: each file of `golden/cases` is a case, and says at its end what it
//! gives. How to add one is in `golden/cases/README.md`.

#![forbid(unsafe_code)]

#[path = "golden/case.rs"]
mod case;
#[path = "golden/dump.rs"]
mod dump;

use std::{env, fs, path::Path};

use case::Case;

#[test]
fn every_case_gives_what_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cases");
    let bless = env::var_os("BLESS").is_some();
    let mut wrong = String::new();
    let mut seen = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        seen += 1;
        let case = Case::read(&path);
        let got = case.run();
        if bless {
            case.bless(&got);
        } else if got != case.want {
            wrong += &format!("{}\n{}", path.display(), difference(&case.want, &got));
        }
    }
    assert!(wrong.is_empty(), "{wrong}\nrun with BLESS=1 to write what is given, and review it");
    assert!(seen >= 10, "only {seen} cases in {}", folder.display());
}

/// Lines that only one side has.
fn difference(want: &str, got: &str) -> String {
    let only = |sign: char, a: &str, b: &str| -> String {
        let lines = a.lines().filter(|line| !b.lines().any(|other| other == *line));
        lines.map(|line| format!("  {sign} {line}\n")).collect()
    };
    let lines = only('-', want, got) + &only('+', got, want);
    if lines.is_empty() { "  the same lines in another order\n".to_owned() } else { lines }
}
