//! `top` on a real terminal. Screens are kept in `screens`; `BLESS=1` keeps those of today.

use std::{env, fs, path::Path};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{double::Double, tmux::Terminal};

/// `top` on an agent that is no other, in a terminal of this size.
fn top(double: &Double, columns: u16, args: &str) -> Option<Terminal> {
    let binary = env!("CARGO_BIN_EXE_balancer-agent");
    let socket = double.socket();
    // One look alone, so that nothing depends on how fast the test is.
    let line = format!("{binary} top --socket {socket} --interval 1h {args}; echo ended $?; cat");
    Terminal::start(columns, 16, &line)
}

/// Compares a screen with the one that is kept.
#[track_caller]
fn kept(name: &str, screen: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/screens").join(name);
    let path = path.with_extension("txt");
    if env::var_os("BLESS").is_some() {
        fs::write(&path, screen).expect("written");
    }
    let kept = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; BLESS=1 writes it", path.display()));
    assert_eq!(screen, kept, "{name} is kept otherwise: run this test with BLESS=1");
}

#[test]
fn services_lead_to_backends_and_connections() {
    let double = Double::start();
    let Some(terminal) = top(&double, 80, "") else { return };
    kept("services", &terminal.shows("shop/cart"));
    terminal.type_keys(&["/", "cart"]);
    kept("filter", &terminal.shows("\n/cart"));
    terminal.type_keys(&["Enter", "Enter"]);
    // A Service that comes into focus is looked at once more: its rates are known from then on.
    kept(
        "backends",
        &terminal.until(|screen| screen.contains("BACKEND") && screen.contains("rate 0B/s")),
    );
    terminal.type_keys(&["Enter"]);
    kept("connections", &terminal.shows("CLIENT"));
    terminal.type_keys(&["?"]);
    kept("help", &terminal.shows("any key leads back"));
    terminal.type_keys(&["q", "Escape"]);
    terminal.shows("BACKEND");
    terminal.type_keys(&["q"]);
    let ended = terminal.shows("ended 0");
    assert!(!ended.contains("BACKEND"), "the screen is as it was before: {ended}");
    assert_eq!(terminal.variable("alternate_on"), "0");
    assert_eq!(terminal.variable("cursor_flag"), "1");
}

#[test]
fn twenty_columns_are_enough_and_another_size_is_followed() {
    let double = Double::start();
    let Some(terminal) = top(&double, 20, "") else { return };
    kept("narrow", &terminal.shows("shop/cart"));
    terminal.resize(100, 10);
    kept("wide", &terminal.shows("SKEW"));
}

#[test]
fn a_service_that_is_named_is_shown_alone() {
    let double = Double::start();
    let Some(terminal) = top(&double, 80, "--service shop/cart") else { return };
    terminal.shows("10.0.0.1:8080");
    terminal.type_keys(&["Escape", "q"]);
    terminal.shows("ended 0");
}

#[test]
fn colours_are_left_out_where_that_is_wanted() {
    let double = Double::start();
    let coloured = |environment: &str| {
        let binary = env!("CARGO_BIN_EXE_balancer-agent");
        let socket = double.socket();
        let line = format!(
            "env -u NO_COLOR {environment} {binary} top shop/cart --socket {socket} --interval 1h"
        );
        let terminal = Terminal::start(80, 16, &line)?;
        terminal.shows("10.0.0.1:8080");
        // Green is how "ready" looks, in either way of naming it.
        let screen = terminal.coloured();
        Some(["\u{1b}[32m", "\u{1b}[38;5;2m"].iter().any(|green| screen.contains(green)))
    };
    let (Some(with), Some(without)) = (coloured(""), coloured("NO_COLOR=1")) else { return };
    assert_eq!((with, without), (true, false));
}

/// Whatever ends it, the terminal is as it was: its mode, its main screen, its cursor.
#[test]
fn the_terminal_is_given_back_whatever_ends_it() {
    let double = Double::start();
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGKILL] {
        let binary = env!("CARGO_BIN_EXE_balancer-agent");
        let socket = double.socket();
        // The shell waits for a line first, so that the mode before is known, and for one afterwards: what it
        // wrote before the guard gives the main screen back would be on the other one.
        let line = format!(
            "echo begin; read x; {binary} top --socket {socket}; code=$?; read x; echo ended $code; cat"
        );
        let Some(terminal) = Terminal::start(80, 16, &line) else { return };
        terminal.shows("begin");
        let before = terminal.mode();
        terminal.type_keys(&["Enter"]);
        terminal.shows("shop/cart");
        assert_ne!(terminal.mode(), before, "raw");
        assert_eq!(terminal.variable("alternate_on"), "1");
        kill(top_below(&terminal), signal).expect("a process");
        terminal.until(|screen| {
            let given_back = terminal.variable("alternate_on") == "0"
                && terminal.variable("cursor_flag") == "1"
                && terminal.mode() == before;
            given_back && screen.contains("begin")
        });
        let is_killed = signal == Signal::SIGKILL;
        if is_killed {
            terminal.shows("the terminal is as it was before");
        }
        terminal.type_keys(&["Enter"]);
        terminal.shows(if is_killed { "ended 137" } else { "ended 0" });
    }
}

/// The child of the shell in the terminal.
fn top_below(terminal: &Terminal) -> Pid {
    let shell = terminal.variable("pane_pid");
    let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"));
    let child = children.expect("a shell").trim().parse().expect("one child");
    Pid::from_raw(child)
}

/// Nothing is left behind: neither the process nor its guard.
#[test]
fn no_process_is_left() {
    let double = Double::start();
    let Some(terminal) = top(&double, 80, "") else { return };
    terminal.shows("shop/cart");
    let top = top_below(&terminal);
    let guards = || {
        let children = fs::read_to_string(format!("/proc/{top}/task/{top}/children"));
        children.unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let guard = guards();
    assert_eq!(guard.len(), 1, "{guard:?}");
    terminal.type_keys(&["q"]);
    terminal.shows("ended 0");
    assert!(!Path::new(&format!("/proc/{}", guard[0])).exists());
}

/// A list that is watched on a terminal is shown anew.
#[test]
fn a_watched_list_is_drawn_anew() {
    let double = Double::serving(crate::double::growing(3));
    let binary = env!("CARGO_BIN_EXE_balancer-agent");
    let line = format!("{binary} services --watch --socket {}", double.socket());
    let Some(terminal) = Terminal::start(100, 16, &line) else { return };
    let last = terminal.until(|screen| {
        screen.lines().nth(1).is_some_and(|line| line.starts_with("shop") && line.ends_with("   3"))
    });
    assert_eq!(last.lines().count(), 2, "one table, not several: {last}");
    terminal.type_keys(&["C-c"]);
}
