//! `--watch`: what comes, changes and goes, until the reader has gone.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

use serde_json::Value;

use crate::{
    Ended,
    double::{Double, growing, silent},
    ended,
};

/// The binary with its output in a pipe.
struct Watching {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Watching {
    fn start(double: &Double, args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_balancer-agent"));
        command.args(args).args(["--socket", double.socket()]).env_remove("RUST_LOG");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a binary that starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("a line").expect("text")
    }

    /// Reads no more. How it ended then.
    fn close(self) -> Ended {
        let Self { child, lines } = self;
        drop(lines);
        ended(child.wait_with_output().expect("an ended process"))
    }
}

#[test]
fn a_line_is_appended_for_each_change() {
    let double = Double::serving(growing(2));
    let mut watching = Watching::start(&double, &["services", "--watch"]);
    let header: Vec<_> = watching.line().split_whitespace().map(str::to_owned).collect();
    assert_eq!(header[..3], ["TIME", "EVENT", "NAMESPACE"]);
    for (event, connections) in [("added", "0"), ("changed", "1"), ("changed", "2")] {
        let line = watching.line();
        let cells: Vec<_> = line.split_whitespace().collect();
        assert!(cells[0].ends_with('Z') && cells[0].contains('T'), "{line}");
        assert_eq!((cells[1], cells[cells.len() - 1]), (event, connections), "{line}");
    }
    let ended = watching.close().with(0);
    assert_eq!(ended.err, "");
}

#[test]
fn where_nothing_changes_the_end_of_the_reader_is_seen_all_the_same() {
    let double = Double::start();
    for verb in ["services", "backends", "connections", "clients", "peers"] {
        let mut watching = Watching::start(&double, &[verb, "-w", "-o", "json"]);
        let change: Value = serde_json::from_str(&watching.line()).expect("JSON");
        assert_eq!(change["event"], "added", "{verb}");
        assert!(change["object"].is_object(), "{verb}");
        let ended = watching.close().with(0);
        assert_eq!(ended.err, "", "{verb}");
    }
}

#[test]
fn where_nothing_more_is_told_the_end_of_who_reads_a_trace_is_seen_all_the_same() {
    let double = Double::serving(silent());
    let mut watching = Watching::start(&double, &["trace", "-o", "json"]);
    let events = [(); 3].map(|()| {
        let line: Value = serde_json::from_str(&watching.line()).expect("JSON");
        line["event"].clone()
    });
    assert_eq!(events, ["dialled", "dropped", "ended"]);
    watching.close().with(0).saying("note: from now on");
}

#[test]
fn top_appends_lines_with_their_time() {
    let double = Double::serving(growing(100));
    let top = |form| ["top", "--interval", "1s", "-o", form];
    let mut watching = Watching::start(&double, &top("tsv"));
    assert!(watching.line().starts_with("time\tservice\tport\tconns\t"));
    let (first, second) = (watching.line(), watching.line());
    let cells = |line: &str| line.split('\t').map(str::to_owned).collect::<Vec<_>>();
    assert_eq!((&*cells(&first)[3], &*cells(&second)[3]), ("1", "2"));
    assert_ne!(cells(&first)[0], cells(&second)[0]);
    watching.close().with(0);

    let mut watching = Watching::start(&double, &top("json"));
    let view: Value = serde_json::from_str(&watching.line()).expect("JSON");
    assert!(view["elapsed_ms"].as_u64().is_some_and(|ms| ms >= 1_000), "{view}");
    let service = &view["services"][0];
    assert_eq!((&service["service"], &service["moved"]), (&"cart".into(), &Value::Null));
    assert!(service["opened_per_s"].is_number(), "{view}");
    watching.close().with(0);
}

#[test]
fn top_without_a_terminal_is_a_table() {
    let double = Double::start();
    let once = ["top", "--once", "--interval", "1s", "--sort", "service"];
    let ended = crate::agent(&[&once[..], &["--socket", double.socket()]].concat()).with(0);
    let mut lines = ended.out.lines();
    assert!(lines.next().is_some_and(|line| line.starts_with("SERVICE ")), "{ended:?}");
    let names: Vec<_> = lines.filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["default/api", "shop/cart"]);
    assert!(!ended.out.contains('\u{1b}'), "colours without a terminal: {ended:?}");
    for (args, said) in [
        (&["--sort", "colour"][..], "[possible values: service, "),
        (&["--interval", "10ms"], "give a time from 1s to 1h"),
        (&["-o", "yaml"], "[possible values: table, json, tsv]"),
    ] {
        crate::agent(&[&["top"], args].concat()).with(2).saying(said);
    }
}
