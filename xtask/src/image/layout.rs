//! Files to an OCI image, and that to an archive (`oci-layout`): blobs by their digest, and an index
//! that names the first of them. <https://github.com/opencontainers/image-spec>

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::{
    architecture::Architecture,
    pack::{self, File},
};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// What an image is made of.
#[derive(Debug)]
pub struct Image {
    /// The architecture whose binary is in it.
    pub architecture: Architecture,
    /// RFC 3339.
    pub created: String,
    /// Labels of the image, which are annotations of its manifest too.
    pub labels: BTreeMap<String, String>,
    /// The program that is started.
    pub entrypoint: String,
    /// What is in it.
    pub files: Vec<File>,
}

/// Blobs of an archive, and what names the first of them.
#[derive(Debug, Default)]
pub struct Layout {
    blobs: Vec<File>,
}

/// Images as a file.
#[derive(Debug)]
pub struct Archive {
    /// The file.
    pub bytes: Vec<u8>,
    /// Of the manifest, or of the index of several: what the image is called by its contents.
    pub digest: String,
}

impl Archive {
    /// The same bytes for the same images, which are of one name. One image is named by its manifest,
    /// several by an index of their manifests.
    pub fn of(name: &str, images: &[Image]) -> Result<Self> {
        let mut layout = Layout::default();
        let mut manifests = Vec::new();
        for image in images {
            manifests.push(layout.image(image)?);
        }
        let named = match manifests.as_slice() {
            [one] => one.clone(),
            _ => {
                let labels = images.first().map(|image| &image.labels);
                layout.json(
                    INDEX,
                    &json!({
                        "schemaVersion": 2,
                        "mediaType": INDEX,
                        "manifests": manifests,
                        "annotations": labels,
                    }),
                )
            }
        };
        layout.archive(
            named,
            &json!({
                // containerd's `ctr images import`; kubelet asks for the full name.
                "io.containerd.image.name": full_name(name),
                // skopeo, podman.
                "org.opencontainers.image.ref.name": name,
            }),
        )
    }
}

impl Layout {
    /// Adds a blob, and describes it.
    pub fn blob(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let descriptor =
            json!({"mediaType": media_type, "digest": digest(&bytes), "size": bytes.len()});
        self.blobs.push(File::plain(format!("blobs/sha256/{}", pack::sha256(&bytes)), bytes));
        descriptor
    }

    /// Adds a blob of JSON.
    pub fn json(&mut self, media_type: &str, value: &Value) -> Value {
        self.blob(media_type, value.to_string().into_bytes())
    }

    /// The layer is not compressed: registries' clients do that when they push, each in its way.
    fn image(&mut self, image: &Image) -> Result<Value> {
        let layer = layer(&image.files)?;
        let config = json!({
            "created": image.created,
            "architecture": image.architecture.name(),
            "os": "linux",
            "config": {
                "Entrypoint": [image.entrypoint],
                "Cmd": ["run"],
                "WorkingDir": "/",
                "Labels": image.labels,
            },
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
            "history": [{"created": image.created, "created_by": "cargo xtask image"}],
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.json(CONFIG, &config),
            "layers": [self.blob(LAYER, layer)],
            "annotations": image.labels,
        });
        let mut described = self.json(MANIFEST, &manifest);
        described["platform"] = json!({"architecture": image.architecture.name(), "os": "linux"});
        Ok(described)
    }

    /// The archive whose index names one blob, with these annotations.
    pub fn archive(self, mut named: Value, annotations: &Value) -> Result<Archive> {
        let digest = named["digest"].as_str().unwrap_or_default().to_owned();
        named["annotations"] = annotations.clone();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [named]});
        let mut files = self.blobs;
        files.push(File::plain("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#));
        files.push(File::plain("index.json", index.to_string()));
        Ok(Archive { bytes: pack::tar(&files)?, digest })
    }
}

/// What a blob is called by its contents.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", pack::sha256(bytes))
}

/// A name as container runtimes complete it: without a registry it is Docker's, and without an owner
/// there `library`. <https://pkg.go.dev/github.com/distribution/reference#ParseNormalizedNamed>
pub fn full_name(name: &str) -> String {
    match name.split_once('/') {
        None => format!("docker.io/library/{name}"),
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => name.to_owned(),
        Some(_) => format!("docker.io/{name}"),
    }
}

fn layer(files: &[File]) -> Result<Vec<u8>> {
    if let Some(file) = files.iter().find(|file| file.path.starts_with('/')) {
        bail!("{} begins with a slash, which not every engine takes off", file.path);
    }
    pack::tar(files)
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
