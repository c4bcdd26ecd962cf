//! Files to an OCI image, and that to an archive (`oci-layout`): blobs by their digest, and an index
//! that names the first of them. <https://github.com/opencontainers/image-spec>

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// What an image is made of.
#[derive(Debug)]
pub struct Image {
    /// `NAME:TAG`, as engines show it after loading.
    pub name: String,
    /// As Go calls it.
    pub architecture: &'static str,
    /// RFC 3339.
    pub created: String,
    pub labels: BTreeMap<String, String>,
    pub entrypoint: String,
    pub files: Vec<File>,
}

/// A file of the image; its folders need not be named.
#[derive(Debug)]
pub struct File {
    /// From the root, without the slash at the beginning.
    pub path: String,
    pub mode: u32,
    pub bytes: Vec<u8>,
}

/// The image as a file.
#[derive(Debug)]
pub struct Archive {
    pub bytes: Vec<u8>,
    /// Of the manifest: what the image is called by its contents.
    pub digest: String,
}

/// What images for this machine are for.
pub fn architecture() -> Result<&'static str> {
    match env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("images are made for x86_64 and aarch64, not for {other}"),
    }
}

impl Archive {
    /// The same bytes for the same image. The layer is not compressed: registries' clients do that
    /// when they push, each in its way.
    pub fn of(image: &Image) -> Result<Self> {
        let layer = layer(&image.files)?;
        let config = json!({
            "created": image.created,
            "architecture": image.architecture,
            "os": "linux",
            "config": {
                "Entrypoint": [image.entrypoint],
                "Cmd": ["run"],
                "WorkingDir": "/",
                "Labels": image.labels,
            },
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
            "history": [{"created": image.created, "created_by": "cargo xtask image"}],
        })
        .to_string()
        .into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &config),
            "layers": [descriptor(LAYER, &layer)],
            "annotations": image.labels,
        })
        .to_string()
        .into_bytes();
        let mut named = descriptor(MANIFEST, &manifest);
        named["platform"] = json!({"architecture": image.architecture, "os": "linux"});
        named["annotations"] = json!({"org.opencontainers.image.ref.name": image.name});
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [named],
        });
        let digest = digest(&manifest);
        let mut files = vec![
            plain("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
            plain("index.json", index.to_string().into_bytes()),
        ];
        files.extend([layer, config, manifest].map(|bytes| plain(&blob(&bytes), bytes)));
        Ok(Self { bytes: tar(&files)?, digest })
    }
}

/// What a blob is called by its contents.
pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn blob(bytes: &[u8]) -> String {
    format!("blobs/{}", digest(bytes).replace(':', "/"))
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()})
}

fn plain(path: &str, bytes: Vec<u8>) -> File {
    File { path: path.to_owned(), mode: 0o644, bytes }
}

fn layer(files: &[File]) -> Result<Vec<u8>> {
    if let Some(file) = files.iter().find(|file| file.path.starts_with('/')) {
        bail!("{} begins with a slash, which not every engine takes off", file.path);
    }
    tar(files)
}

/// In order, of the same owner and time, whatever they were.
fn tar(files: &[File]) -> Result<Vec<u8>> {
    let by_path: BTreeMap<&str, &File> = files.iter().map(|f| (f.path.as_str(), f)).collect();
    let folders: BTreeSet<&str> = by_path
        .keys()
        .flat_map(|path| path.match_indices('/').map(|(at, _)| &path[..at]))
        .collect();
    let mut builder = tar::Builder::new(Vec::new());
    for folder in folders {
        append(&mut builder, &format!("{folder}/"), 0o755, tar::EntryType::Directory, &[])?;
    }
    for (path, file) in by_path {
        append(&mut builder, path, file.mode, tar::EntryType::Regular, &file.bytes)?;
    }
    builder.into_inner().context("ending an archive")
}

fn append(
    builder: &mut tar::Builder<Vec<u8>>,
    path: &str,
    mode: u32,
    kind: tar::EntryType,
    bytes: &[u8],
) -> Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(bytes.len() as u64);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    builder.append_data(&mut header, path, bytes).with_context(|| format!("packing {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        let file = |path: &str, bytes: &[u8]| File {
            path: path.to_owned(),
            mode: 0o755,
            bytes: bytes.to_owned(),
        };
        Image {
            name: "agent:1".into(),
            architecture: "amd64",
            created: "1970-01-01T00:00:00Z".into(),
            labels: BTreeMap::from([("org.opencontainers.image.title".into(), "agent".into())]),
            entrypoint: "/agent".into(),
            files: vec![file("usr/share/doc/notes", b"notes"), file("agent", b"program")],
        }
    }

    fn entries(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(bytes);
        let read = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
            let mut entry = entry.unwrap();
            assert_eq!((entry.header().mtime().unwrap(), entry.header().uid().unwrap()), (0, 0));
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
            (entry.path().unwrap().display().to_string(), bytes)
        };
        archive.entries().unwrap().map(read).collect()
    }

    #[test]
    fn an_archive_leads_from_its_index_to_the_files() {
        let archive = Archive::of(&image()).unwrap();
        let files = entries(&archive.bytes);
        let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
        let follow = |descriptor: &Value| {
            let digest_of = descriptor["digest"].as_str().unwrap();
            let bytes = &files[&format!("blobs/{}", digest_of.replace(':', "/"))];
            assert_eq!(digest(bytes), digest_of);
            assert_eq!(descriptor["size"], json!(bytes.len()));
            bytes.clone()
        };
        assert_eq!(json(&files["oci-layout"])["imageLayoutVersion"], json!("1.0.0"));
        let index = json(&files["index.json"]);
        assert_eq!(index["manifests"][0]["digest"], json!(archive.digest));
        let manifest = json(&follow(&index["manifests"][0]));
        let config = json(&follow(&manifest["config"]));
        assert_eq!(config["config"]["Entrypoint"], json!(["/agent"]));
        assert_eq!(config["config"]["Labels"]["org.opencontainers.image.title"], json!("agent"));
        let layer = follow(&manifest["layers"][0]);
        assert_eq!(config["rootfs"]["diff_ids"], json!([digest(&layer)]));
        let inside = entries(&layer);
        let paths: Vec<_> = inside.keys().map(String::as_str).collect();
        assert_eq!(paths, ["agent", "usr/", "usr/share/", "usr/share/doc/", "usr/share/doc/notes"]);
        assert_eq!(inside["agent"], b"program");
    }

    #[test]
    fn the_same_files_give_the_same_bytes_in_whatever_order() {
        let mut other = image();
        other.files.reverse();
        assert_eq!(Archive::of(&image()).unwrap().bytes, Archive::of(&other).unwrap().bytes);
        other.files[0].bytes.push(b'!');
        assert_ne!(Archive::of(&image()).unwrap().digest, Archive::of(&other).unwrap().digest);
    }

    #[test]
    fn a_path_from_the_root_is_refused() {
        let mut wrong = image();
        wrong.files[0].path = "/agent".into();
        let error = Archive::of(&wrong).unwrap_err().to_string();
        assert!(error.contains("/agent begins with a slash"), "{error}");
    }
}
