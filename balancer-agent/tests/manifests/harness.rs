//! A folder to play with, and what a reader of it sees.

use std::{
    fs,
    future::Future,
    path::{Path, PathBuf},
    time::Duration,
};

use balancer_agent::{model::State, source::Manifests};
use tempfile::TempDir;

/// Far longer than anything takes, for what must happen.
const SOON: Duration = Duration::from_secs(20);

/// A folder of manifests inside a folder of its own, so that it can be moved away.
pub struct Folder {
    outer: TempDir,
}

impl Folder {
    pub fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self { outer: tempfile::tempdir().unwrap() };
        fs::create_dir(folder.dir()).unwrap();
        for (name, text) in files {
            folder.write(name, text);
        }
        folder
    }

    pub fn outer(&self) -> &Path {
        self.outer.path()
    }

    pub fn dir(&self) -> PathBuf {
        self.outer.path().join("manifests")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }
}

/// A Service and its slice, two documents.
pub fn service(name: &str, ip: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n\
         spec: {{clusterIP: {ip}, ports: [{{port: 80}}]}}\n---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: {name}-1, labels: {{kubernetes.io/service-name: {name}}}}}\n\
         addressType: IPv4\nports: [{{port: 8080}}]\nendpoints: [{{addresses: [10.0.0.1]}}]\n"
    )
}

/// What a state holds, in short: `NAME=CLUSTER-IP` for each Service that has its slice.
pub fn services(state: &State) -> Vec<String> {
    (state.services.values())
        .filter(|service| state.slices.values().any(|slice| slice.service == service.id.name))
        .map(|service| format!("{}={}", service.id.name, service.cluster_ips[0]))
        .collect()
}

/// The problems, a line each.
pub fn problems(state: &State) -> String {
    state.problems.iter().map(|problem| format!("{problem}\n")).collect()
}

/// Runs a test on a runtime of its own.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().build().unwrap().block_on(test)
}

/// The next state.
pub async fn next(manifests: &mut Manifests) -> State {
    let next = tokio::time::timeout(SOON, manifests.next()).await;
    next.expect("no new state, though there should be one").unwrap()
}

/// The next state that satisfies `wanted`; all states on the way must satisfy `always`.
pub async fn until(
    manifests: &mut Manifests,
    always: impl Fn(&State) -> bool,
    wanted: impl Fn(&State) -> bool,
) -> State {
    loop {
        let state = next(manifests).await;
        assert!(always(&state), "on the way: {:?}\n{}", services(&state), problems(&state));
        if wanted(&state) {
            return state;
        }
    }
}

/// Holds where no state comes for a while in which it would have come.
pub async fn no_state_for(manifests: &mut Manifests, ms: u64) {
    if let Ok(state) = tokio::time::timeout(Duration::from_millis(ms), manifests.next()).await {
        let state = state.unwrap();
        panic!("unexpected state {:?}\n{}", services(&state), problems(&state));
    }
}
