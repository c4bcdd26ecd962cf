//! Completions, as a shell asks for them.

use std::{path::Path, process::Command};

use crate::{Ended, VERBS, agent, double::Double, finish};

#[test]
fn every_shell_has_a_script() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = agent(&["completions", shell]).with(0).out;
        assert!(script.contains("balancer-agent"), "{shell}: {script}");
    }
}

/// What bash offers for the last word of a line, of which the script was read.
fn offered(line: &[&str]) -> Ended {
    let folder = Path::new(env!("CARGO_BIN_EXE_balancer-agent")).parent().expect("a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    let script = r#"
        source <(balancer-agent completions bash) || exit 9
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_TYPE=9
        spec=$(complete -p balancer-agent) || exit 8
        function=${spec##*-F } function=${function%% *}
        "$function" balancer-agent "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", script, "bash", "balancer-agent"]).args(line);
    let ended = finish(bash.env("PATH", format!("{}:{path}", folder.display())));
    assert_eq!(ended.err, "", "{line:?}");
    ended.with(0)
}

fn words(ended: &Ended) -> Vec<&str> {
    ended.out.lines().collect()
}

#[test]
fn bash_completes_verbs_and_flags() {
    let ended = offered(&[""]);
    for verb in VERBS {
        assert!(words(&ended).contains(&verb), "{verb} is not in {ended:?}");
    }
    for hidden in ["touch-sockets", "guard-terminal", "manual"] {
        assert!(!words(&ended).contains(&hidden), "{hidden} is in {ended:?}");
    }
    let ended = offered(&["services", "--sort-by", "pol"]);
    assert_eq!(words(&ended), ["policy"]);
}

#[test]
fn bash_completes_values_that_the_agent_knows() {
    let double = Double::start();
    let at = |line: &[&str]| {
        let (verb, rest) = line.split_first().expect("a verb");
        let ended = offered(&[&[*verb, "--socket", double.socket()], rest].concat());
        words(&ended).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(at(&["backends", "sh"]), ["shop/cart"]);
    assert_eq!(at(&["connections", "--service", ""]), ["default/api", "shop/cart"]);
    assert_eq!(at(&["rebalance", "-n", "shop", "c"]), ["cart"]);
    assert_eq!(at(&["top", "--namespace", "d"]), ["default"]);
    assert_eq!(at(&["drain", "10."]), ["10.0.0.1:8080"]);
    assert_eq!(at(&["connections", "--pod", "front"]), ["front/web-1"]);
    assert_eq!(at(&["connections", "--pod", "shop"]), [""; 1], "no such pod has connections");
}

#[test]
fn without_an_agent_nothing_is_offered_and_nothing_is_said() {
    let line = ["backends", "--socket", "/nonexistent", "--bpffs", "/nonexistent", "s"];
    assert_eq!(words(&offered(&line)), [""]);
}
