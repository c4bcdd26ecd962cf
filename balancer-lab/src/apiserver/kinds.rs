//! The kinds that are served.

/// A kind of the API.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The one version that is served.
    pub version: &'static str,
    /// As in URLs.
    pub plural: &'static str,
    /// As in objects.
    pub kind: &'static str,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// What kubectl accepts, too.
    pub short: &'static [&'static str],
}

impl Kind {
    /// `apiVersion` of the objects.
    pub fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }
}

/// Every kind.
pub static KINDS: [Kind; 7] = [
    core("services", "Service", true, &["svc"]),
    core("nodes", "Node", false, &["no"]),
    core("pods", "Pod", true, &["po"]),
    core("namespaces", "Namespace", false, &["ns"]),
    core("events", "Event", true, &["ev"]),
    group("discovery.k8s.io", "endpointslices", "EndpointSlice"),
    group("events.k8s.io", "events", "Event"),
];

const fn core(
    plural: &'static str,
    kind: &'static str,
    namespaced: bool,
    short: &'static [&'static str],
) -> Kind {
    Kind { group: "", version: "v1", plural, kind, namespaced, short }
}

const fn group(group: &'static str, plural: &'static str, kind: &'static str) -> Kind {
    Kind { group, version: "v1", plural, kind, namespaced: true, short: &[] }
}

/// The kind behind a URL.
pub fn of_url(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|k| (k.group, k.version, k.plural) == (group, version, plural))
}

/// The kind of an object.
pub fn of_object(api_version: &str, kind: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|k| k.kind == kind && k.api_version() == api_version)
}
