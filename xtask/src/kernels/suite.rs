//! Which tests run in the machines.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::guest::Job;
use crate::{compile::CHECKED, process, setup::Target, shipped::AGENT, workspace::Workspace};

/// A module of tests, and those of it that run.
type Module = (&'static str, &'static [&'static str]);

/// The lab's command line.
pub const LAB: &str = "balancer-lab";
/// The module whose test tells what the programs cost the verifier.
pub const VERIFIER: &str = "verifier";

/// The program of tests.
pub const PROGRAM: &str = "node";

/// The tests whose subject is the kernel: of each kind of program, of each end of a connection. The
/// others try what is the same on each, and one start of the agent takes seconds here.
pub const TESTS: [Module; 11] = [
    (VERIFIER, &["no_program_comes_near_the_limit_of_the_verifier"]),
    (
        "balancing",
        &[
            "a_program_is_connected_to_what_it_dialled",
            "sigterm_leaves_balancing_in_place_and_the_next_agent_adopts_it",
            "cleanup_removes_everything_and_connections_go_on",
        ],
    ),
    (
        "counting",
        &[
            "counts_equal_sockets_through_churn_kills_and_refusals",
            "multipath_tcp_is_counted_until_it_is_closed",
        ],
    ),
    ("spread", &["every_backend_of_a_row_is_looked_at"]),
    ("truth", &["what_is_detached_is_attached_again", "a_program_that_was_replaced_is_put_back"]),
    ("verdicts", &["no_endpoint_and_no_local_endpoint", "too_many_connections"]),
    ("families", &["ipv6_is_spread_evenly_and_peers_are_what_was_dialled"]),
    (
        "datagrams",
        &[
            "connected_sockets_are_spread_counted_and_answered_by_the_service",
            "one_socket_talks_to_several_services_and_stays_with_its_backends",
            "ipv6_and_mapped_addresses_are_balanced_too",
        ],
    ),
    (
        "policies",
        &[
            "weighted_least_connections_is_shared_by_weight",
            "round_robin_takes_turns_whatever_is_closed",
        ],
    ),
    ("affinity", &["a_client_has_one_backend_at_all_addresses_and_clients_are_spread"]),
    (
        "pods",
        &[
            "sockets_of_a_pod_are_left_alone_by_its_label_or_that_of_its_namespace",
            "source_ranges_are_asked_for_the_addresses_of_the_pod",
        ],
    ),
];

/// Builds the program of tests; gives its executable.
pub fn executable(workspace: &Workspace, target: Option<&Target>) -> Result<PathBuf> {
    let mut cargo = workspace.cargo("test");
    cargo.args(CHECKED).args(["--no-run", "--message-format", "json-render-diagnostics"]);
    cargo.args(["--test", PROGRAM]);
    if let Some(target) = target {
        target.tell(&mut cargo, workspace);
    }
    let mut built = None;
    let status = process::read_lines(&mut cargo, |line| {
        built = told(line).filter(|(name, _)| name == PROGRAM).or(built.take());
    })?;
    ensure!(status.success(), "the tests can't be built: cargo ended with {status}");
    let (_, executable) = built.with_context(|| format!("cargo built no test {PROGRAM}"))?;
    Ok(executable)
}

/// The job that runs some tests of a module; `path` is the program.
pub fn job(module: &str, path: &str, tests: &[&str]) -> Job {
    let mut arguments: Vec<_> = tests.iter().map(|test| format!("{module}::{test}")).collect();
    // One after the other: there is one processor. What tests print has the verifier's figures.
    arguments.extend(["--exact", "--test-threads=1", "--show-output"].map(str::to_owned));
    let binary = |variable: &str, name: &str| (variable.to_owned(), format!("/usr/bin/{name}"));
    Job {
        name: module.to_owned(),
        program: format!("/{path}"),
        arguments,
        environment: vec![
            binary("BALANCER_AGENT_BIN", AGENT),
            binary("BALANCER_LAB_BIN", LAB),
            ("RUST_BACKTRACE".to_owned(), "0".to_owned()),
        ],
    }
}

/// Name and path of the test program that a message of cargo tells.
fn told(line: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(line).ok()?;
    let is_test = message["target"]["kind"][0] == "test";
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let path = text(&message["executable"]).filter(|_| is_test)?;
    Some((text(&message["target"]["name"])?, path.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_are_told_by_cargo() {
        let line = r#"{"target":{"kind":["test"],"name":"node"},"executable":"/t/node-1"}"#;
        assert_eq!(told(line), Some(("node".to_owned(), "/t/node-1".into())));
        assert_eq!(told(&line.replace("test\"]", "bin\"]")), None);
        assert_eq!(told("Compiling"), None);
    }

    #[test]
    fn tests_are_named_by_their_module() {
        let job = job("counting", "tests/node", &["one", "two"]);
        assert_eq!(job.arguments[..3], ["counting::one", "counting::two", "--exact"]);
        assert_eq!((job.name.as_str(), job.program.as_str()), ("counting", "/tests/node"));
    }
}
