//! Values that shells complete: what the agent knows, asked where the words of the line say.

use std::{
    env,
    ffi::{OsStr, OsString},
    net::SocketAddr,
    sync::mpsc,
    thread,
    time::Duration,
};

use clap::CommandFactory;
use clap_complete::{CompleteEnv, CompletionCandidate, Shell, env::Shells};

use super::{Cli, inspect::Place};
use crate::{
    observe::Offline,
    view::{ClientsQuestion, ServiceView, ServicesQuestion},
};

/// The variable by which the script of a shell asks for completions.
const VARIABLE: &str = "BALANCER_AGENT_COMPLETE";
/// How long whoever types waits.
const PATIENCE: Duration = Duration::from_secs(1);

/// Answers the script of a shell and ends the process, where that is who asks.
pub(super) fn answer() {
    CompleteEnv::with_factory(Cli::command).var(VARIABLE).bin("balancer-agent").complete();
}

/// The script that a shell reads.
pub(super) fn script(shell: Shell) -> std::io::Result<Vec<u8>> {
    let name = shell.to_string();
    let shells = Shells::builtins();
    let unknown = || std::io::Error::other(format!("{name} has no completions"));
    let completer = shells.completer(&name).ok_or_else(unknown)?;
    let mut script = Vec::new();
    let bin = "balancer-agent";
    completer.write_registration(VARIABLE, bin, bin, bin, &mut script)?;
    Ok(script)
}

/// Services: `NAMESPACE/NAME`, and `NAME` alone in the namespace that the line names.
pub(super) fn services(current: &OsStr) -> Vec<CompletionCandidate> {
    let within = named(&["-n", "--namespace"]);
    let found = patiently(|place| place.look(&ServicesQuestion {}, Offline::services).ok());
    let mut names: Vec<_> = found.map(|(services, _)| services).unwrap_or_default();
    names.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    names.dedup_by(|a, b| (&a.namespace, &a.name) == (&b.namespace, &b.name));
    let name = |service: ServiceView| match &within {
        Some(within) if *within == service.namespace.as_str() => Some(service.name),
        Some(_) => None,
        None => Some(format!("{}/{}", service.namespace, service.name)),
    };
    beginning(current, names.into_iter().filter_map(name))
}

/// Namespaces of Services.
pub(super) fn namespaces(current: &OsStr) -> Vec<CompletionCandidate> {
    let found = patiently(|place| place.look(&ServicesQuestion {}, Offline::services).ok());
    let mut names: Vec<_> =
        found.into_iter().flat_map(|(services, _)| services).map(|s| s.namespace).collect();
    names.sort();
    names.dedup();
    beginning(current, names)
}

/// Backends as `ADDRESS:PORT`.
pub(super) fn backends(current: &OsStr) -> Vec<CompletionCandidate> {
    let found = patiently(|place| place.look(&ServicesQuestion {}, Offline::services).ok());
    let services = found.map(|(services, _)| services).unwrap_or_default();
    let backends = services.iter().flat_map(|service| &service.backends);
    let mut all: Vec<_> =
        backends.map(|backend| SocketAddr::from((backend.address, backend.port))).collect();
    all.sort();
    all.dedup();
    beginning(current, all.into_iter().map(|address| address.to_string()))
}

/// Pods that have connections.
pub(super) fn pods(current: &OsStr) -> Vec<CompletionCandidate> {
    let all = ClientsQuestion::default();
    let found = patiently(move |place| place.look(&all, |maps| maps.clients(&all)).ok());
    let clients = found.map(|(clients, _)| clients).unwrap_or_default();
    beginning(current, clients.into_iter().filter_map(|c| c.pod).map(|pod| pod.to_string()))
}

fn beginning(current: &OsStr, names: impl IntoIterator<Item = String>) -> Vec<CompletionCandidate> {
    let typed = current.to_string_lossy();
    let fits = names.into_iter().filter(|name| name.starts_with(&*typed));
    fits.map(CompletionCandidate::new).collect()
}

/// Asks where the line says; nothing where that takes long.
fn patiently<T: Send + 'static>(
    ask: impl FnOnce(&Place) -> Option<T> + Send + 'static,
) -> Option<T> {
    let place = Place::or_default(named(&["--socket"]), named(&["--bpffs"]));
    let (told, answer) = mpsc::channel();
    let asking = move || {
        // Nobody may wait any more.
        let _ = told.send(ask(&place));
    };
    thread::Builder::new().spawn(asking).ok()?;
    answer.recv_timeout(PATIENCE).ok()?
}

/// The value of a flag on the line that is completed, which is among the arguments of this process.
fn named(flags: &[&str]) -> Option<OsString> {
    value(flags, &env::args_os().collect::<Vec<_>>())
}

fn value(flags: &[&str], words: &[OsString]) -> Option<OsString> {
    words.iter().enumerate().find_map(|(nth, word)| {
        let word = word.to_str()?;
        let joined = flags.iter().find_map(|flag| word.strip_prefix(flag)?.strip_prefix('='));
        match joined {
            Some(value) => Some(value.into()),
            None if flags.contains(&word) => words.get(nth + 1).cloned(),
            None => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_where_to_ask() {
        let words = ["x", "services", "--socket", "/a b", "--bpffs=/c", "-n"].map(OsString::from);
        assert_eq!(value(&["--socket"], &words), Some("/a b".into()));
        assert_eq!(value(&["--bpffs"], &words), Some("/c".into()));
        assert_eq!(value(&["-n", "--namespace"], &words), None, "it is about to be typed");
        assert_eq!(value(&["--sock"], &words), None);
    }
}
