//! How long a client stays with its backend.

use k8s_openapi::api::core::v1 as core;

use super::object::{Fault, Faults};
use crate::settings::quoted;

/// What the API fills in, three hours.
const DEFAULT: u32 = 10_800;
/// The most the API allows, a day.
const MAX: u32 = 86_400;

/// Seconds of session affinity; none where a client may go anywhere.
pub fn affinity(spec: &core::ServiceSpec, faults: &mut Faults) -> Option<u32> {
    match spec.session_affinity.as_deref() {
        None | Some("" | "None") => return None,
        Some("ClientIP") => {}
        Some(other) => {
            let message = format!(
                "{other} is no affinity: clients go anywhere; write ClientIP or None",
                other = quoted(other)
            );
            faults.push(Fault::new("spec.sessionAffinity", message));
            return None;
        }
    }
    let config = spec.session_affinity_config.as_ref();
    let Some(given) = config.and_then(|c| c.client_ip.as_ref()).and_then(|c| c.timeout_seconds)
    else {
        return Some(DEFAULT);
    };
    let usable = u32::try_from(given).ok().filter(|seconds| (1..=MAX).contains(seconds));
    if usable.is_none() {
        faults.push(Fault::new(
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
            format!("{given} is not from 1 to {MAX}: {DEFAULT} is used; write one of these"),
        ));
    }
    usable.or(Some(DEFAULT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn affinity_lasts_as_the_api_allows() {
        // affinity, timeout -> seconds, number of faults
        for (kind, timeout, want, told) in [
            (None, None, None, 0),
            (Some(""), None, None, 0),
            (Some("None"), Some(5), None, 0),
            (Some("ClientIP"), None, Some(10_800), 0),
            (Some("ClientIP"), Some(1), Some(1), 0),
            (Some("ClientIP"), Some(86_400), Some(86_400), 0),
            (Some("ClientIP"), Some(0), Some(10_800), 1),
            (Some("ClientIP"), Some(-1), Some(10_800), 1),
            (Some("ClientIP"), Some(86_401), Some(10_800), 1),
            (Some("ClientIP"), Some(100_000), Some(10_800), 1),
            (Some("clientip"), Some(5), None, 1),
        ] {
            let client_ip = core::ClientIPConfig { timeout_seconds: timeout };
            let spec = core::ServiceSpec {
                session_affinity: kind.map(str::to_owned),
                session_affinity_config: timeout
                    .map(|_| core::SessionAffinityConfig { client_ip: Some(client_ip) }),
                ..core::ServiceSpec::default()
            };
            let mut faults = Faults::default();
            let found = affinity(&spec, &mut faults);
            assert_eq!((found, faults.len()), (want, told), "{kind:?} {timeout:?} {faults:?}");
        }
    }
}
