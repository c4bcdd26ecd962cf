//! The folder of Kubernetes YAML that agents watch.

mod cluster;
mod service;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    Cluster,
    error::{Attempt, Error, Result, on},
};

pub use cluster::{PEERS, peer_flags};
pub use service::{Endpoint, Service};

/// A folder of manifests. Files change atomically: written aside, then renamed.
#[derive(Clone, Debug)]
pub struct Manifests {
    dir: PathBuf,
}

impl Manifests {
    /// Makes the folder if it is not there.
    pub fn create(dir: impl Into<PathBuf>) -> Result<Self> {
        let dir = dir.into();
        fs::create_dir_all(&dir).attempt(on("create", &dir))?;
        Ok(Self { dir })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a Service and its EndpointSlice as `<namespace>-<name>.yaml`.
    pub fn write(&self, service: &Service) -> Result<PathBuf> {
        self.write_objects(&file_name(service), &[service.service(), service.endpoint_slice()])
    }

    /// Writes what the agents of a cluster read of it: its nodes as `nodes.yaml`, and the Service
    /// through which they find each other.
    pub fn write_cluster(&self, cluster: &Cluster) -> Result<()> {
        let nodes: Vec<Value> = cluster.nodes().iter().map(cluster::node).collect();
        self.write_objects("nodes.yaml", &nodes)?;
        self.write(&cluster::peers(cluster.nodes())).map(drop)
    }

    /// Writes objects as documents of one file.
    pub fn write_objects(&self, file: &str, objects: &[Value]) -> Result<PathBuf> {
        let yaml = objects
            .iter()
            .map(serde_saphyr::to_string)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Error::Unmet(format!("{file}: {error}")))?
            .join("---\n");
        self.write_text(file, &yaml)
    }

    /// Writes a file as it is: broken YAML, or what `kubectl` printed.
    pub fn write_text(&self, file: &str, text: &str) -> Result<PathBuf> {
        let path = self.dir.join(file);
        // The dot hides the unfinished file from whoever reads the folder.
        let unfinished = self.dir.join(format!(".{file}.tmp"));
        fs::write(&unfinished, text).attempt(on("write", &unfinished))?;
        fs::rename(&unfinished, &path).attempt(on("write", &path))?;
        Ok(path)
    }

    /// Deletes a Service's file.
    pub fn remove(&self, service: &Service) -> Result<()> {
        let path = self.dir.join(file_name(service));
        fs::remove_file(&path).attempt(on("remove", &path))
    }
}

fn file_name(service: &Service) -> String {
    format!("{}-{}.yaml", service.namespace, service.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_written_as_two_documents_and_leaves_nothing_aside() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let manifests = Manifests::create(dir.path()).expect("folder");
        let service =
            Service::new("web", [10, 96, 0, 10], 80, 8080, [[10, 244, 0, 1], [10, 244, 0, 2]]);
        let path = manifests.write(&service.annotated("a/b", "c")).expect("written");
        let text = fs::read_to_string(path).expect("readable");
        let kinds: Vec<&str> = text.lines().filter(|line| line.starts_with("kind:")).collect();
        assert_eq!(kinds, ["kind: Service", "kind: EndpointSlice"]);
        assert!(text.contains("kubernetes.io/service-name: web"), "{text}");
        assert!(text.contains("ready: true") && !text.contains("terminating"), "{text}");
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 1);
    }
}
