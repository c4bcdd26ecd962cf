//! The demo as its users run it. Needs root and the agent's binary.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

fn demo() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_balancer-lab"));
    command.arg("demo");
    command
}

#[test]
fn the_json_has_both_sides_and_least_connections_are_exact() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let report = dir.path().join("report.html");
    let scenarios = [("pools-5", vec![1, 1, 1, 1, 1]), ("pods-7x3", vec![4, 4, 4, 4, 5])];
    let mut command = demo();
    command.args(["--output", "json", "--report"]).arg(&report);
    for (name, _) in &scenarios {
        command.args(["--scenario", name]);
    }
    let output = command.output().expect("demo");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("json");
    let outcomes = json["scenarios"].as_array().expect("a list");
    assert_eq!(outcomes.len(), 4, "{json:#}");
    for ((name, expected), sides) in scenarios.iter().zip(outcomes.chunks(2)) {
        let [iptables, least] = sides else { panic!("two sides: {sides:?}") };
        assert_eq!((&iptables["name"], &least["name"]), (&(*name).into(), &(*name).into()));
        assert_eq!(iptables["balancer"], "iptables");
        assert_eq!(least["balancer"], "least-connections");
        let connections = least["connections"].as_object().expect("a map");
        let mut spread: Vec<u64> =
            connections.values().map(|count| count.as_u64().expect("a count")).collect();
        spread.sort_unstable();
        assert_eq!(&spread, expected, "{name}");
        assert_eq!(least["idle_backends"], 0);
        assert!(least["requests_per_second"].as_f64().expect("a rate") > 0.0);
    }
    let html = fs::read_to_string(report).expect("report");
    assert!(html.contains("<svg") && html.contains("pods-7x3"), "{html}");
}

/// The labs whose locks a process holds.
fn labs_of(pid: u32) -> Vec<PathBuf> {
    let locks = fs::read_to_string("/proc/locks").expect("locks");
    // 1: FLOCK  ADVISORY  WRITE <pid> <major>:<minor>:<inode> 0 EOF
    let held: Vec<u64> = locks
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| words.get(4) == Some(&pid.to_string().as_str()))
        .filter_map(|words| words[5].rsplit(':').next()?.parse().ok())
        .collect();
    fs::read_dir("/run/balancer-lab")
        .expect("labs")
        .map(|entry| entry.expect("entry").path())
        .filter(|dir| fs::metadata(dir.join("lock")).is_ok_and(|file| held.contains(&file.ino())))
        .collect()
}

#[test]
fn a_signal_removes_the_labs() {
    let mut child = demo()
        .args(["--report", "/dev/null", "--scenario", "two-to-five", "--scenario", "pods-7x3"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("demo");
    // With the first scenario's outcome on the screen, the second is running.
    let mut line = String::new();
    let mut stdout = child.stdout.take().expect("pipe");
    BufReader::new(&mut stdout).read_line(&mut line).expect("readable");
    assert!(line.contains("two-to-five"), "{line}");
    let labs = labs_of(child.id());
    assert_eq!(labs.len(), 2, "{labs:?}");
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).expect("signal");
    let status = child.wait().expect("ended");
    assert_eq!(status.code(), Some(128 + 15), "{status}");
    for lab in labs {
        assert!(!lab.exists(), "{} is left", lab.display());
        let id = lab.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(!Path::new("/run/netns").join(format!("bl-{id}")).exists(), "{id} is left");
    }
}
