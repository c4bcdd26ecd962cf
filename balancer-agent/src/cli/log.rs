//! Log lines on standard error. `RUST_LOG` chooses which; `info` unless it does.

use std::io::{self, IsTerminal};

use tracing_subscriber::{
    EnvFilter,
    fmt::{self, writer::MakeWriterExt as _},
};

use crate::{config::LogFormat, log_lines::LogLines};

/// The client of the API server, which logs every failed request. The agent tells what comes of it,
/// once.
const CLIENT: &str = "kube_client";

/// Lines of libraries may have of what they send and hear what is nobody's business.
const OWN: &str = env!("CARGO_CRATE_NAME");

/// Starts logging for the rest of the process. The last lines that the agent itself logs are kept.
pub(super) fn start(format: LogFormat) -> LogLines {
    let wanted = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let filter = EnvFilter::builder().parse_lossy(directives(&wanted));
    let kept = LogLines::default();
    let own = kept.clone().with_filter(|of| of.target().starts_with(OWN));
    let lines = fmt::fmt().with_env_filter(filter).with_writer(io::stderr.and(own));
    match format {
        LogFormat::Json => lines.json().flatten_event(true).init(),
        LogFormat::Text => {
            let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            lines.with_ansi(colours).with_target(false).init();
        }
    }
    kept
}

/// What the user wants, and of the client of the API server nothing that they did not ask for.
fn directives(wanted: &str) -> String {
    let wanted = if wanted.is_empty() { "info" } else { wanted };
    if wanted.contains(CLIENT) { wanted.to_owned() } else { format!("{wanted},{CLIENT}=off") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_of_the_api_server_is_silent_unless_it_is_asked_for() {
        assert_eq!(directives(""), "info,kube_client=off");
        assert_eq!(directives("debug"), "debug,kube_client=off");
        assert_eq!(directives("info,kube_client=debug"), "info,kube_client=debug");
    }
}
