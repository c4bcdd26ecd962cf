//! Which Service ports carry a protocol of requests and answers.

/// Values of `appProtocol` where a request and its answer are all there is.
const APP_PROTOCOLS: [&str; 7] = [
    "http",
    "https",
    "http2",
    "grpc",
    "kubernetes.io/h2c",
    "kubernetes.io/ws",
    "kubernetes.io/wss",
];
/// Names of ports that say the same, alone or before a dash, by the convention of meshes.
const PORT_NAMES: [&str; 7] = ["http", "https", "http2", "grpc", "grpc-web", "h2c", "web"];

/// True if `appProtocol` or the name of a Service port says that a request and its answer are all there
/// is: nothing that hangs on the connection outlives them.
pub fn requests_only(app_protocol: Option<&str>, name: &str) -> bool {
    let names = |known: &&str| {
        name.strip_prefix(*known).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    app_protocol.is_some_and(|written| APP_PROTOCOLS.contains(&written))
        || PORT_NAMES.iter().any(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_of_requests_alone_are_known_by_appprotocol_or_name() {
        for known in APP_PROTOCOLS {
            assert!(requests_only(Some(known), ""), "{known}");
        }
        for known in ["http", "https", "http2", "grpc", "grpc-web", "h2c", "web"] {
            assert!(requests_only(None, known), "{known}");
            assert!(requests_only(Some("example.com/own"), &format!("{known}-shop")), "{known}");
        }
        for (app_protocol, name) in [
            (None, ""),
            (None, "postgres"),
            (None, "httpd"),
            (None, "webdb"),
            (None, "db-http"),
            (None, "tcp-http"),
            (None, "HTTP"),
            (Some("tcp"), ""),
            (Some(""), ""),
            (Some("mysql"), "db"),
            (Some("kubernetes.io/http"), ""),
            (Some("redis"), "redis"),
        ] {
            assert!(!requests_only(app_protocol, name), "{app_protocol:?} {name:?}");
        }
    }
}
