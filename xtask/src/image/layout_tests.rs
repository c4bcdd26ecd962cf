use std::collections::BTreeMap;

use super::*;

fn image(architecture: Architecture) -> Image {
    Image {
        architecture,
        created: "1970-01-01T00:00:00Z".into(),
        labels: BTreeMap::from([("org.opencontainers.image.title".into(), "agent".into())]),
        entrypoint: "/agent".into(),
        files: vec![
            File::plain("usr/share/doc/notes", "notes"),
            File::program("agent", architecture.name()),
        ],
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

fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// The blob that a descriptor names, which must be what it says.
fn follow(files: &BTreeMap<String, Vec<u8>>, descriptor: &Value) -> Vec<u8> {
    let named = descriptor["digest"].as_str().unwrap();
    let bytes = &files[&format!("blobs/{}", named.replace(':', "/"))];
    assert_eq!(digest(bytes), named);
    assert_eq!(descriptor["size"], json!(bytes.len()));
    bytes.clone()
}

#[test]
fn an_archive_leads_from_its_index_to_the_files() {
    let archive = Archive::of("agent:1", &[image(Architecture::Amd64)]).unwrap();
    let files = entries(&archive.bytes);
    assert_eq!(parsed(&files["oci-layout"])["imageLayoutVersion"], json!("1.0.0"));
    let index = parsed(&files["index.json"]);
    let named = &index["manifests"][0];
    assert_eq!(named["digest"], json!(archive.digest));
    assert_eq!(named["annotations"]["io.containerd.image.name"], "docker.io/library/agent:1");
    assert_eq!(named["annotations"]["org.opencontainers.image.ref.name"], "agent:1");
    let manifest = parsed(&follow(&files, named));
    let config = parsed(&follow(&files, &manifest["config"]));
    assert_eq!(config["config"]["Entrypoint"], json!(["/agent"]));
    assert_eq!(config["config"]["Labels"]["org.opencontainers.image.title"], json!("agent"));
    let layer = follow(&files, &manifest["layers"][0]);
    assert_eq!(config["rootfs"]["diff_ids"], json!([digest(&layer)]));
    let inside = entries(&layer);
    let paths: Vec<_> = inside.keys().map(String::as_str).collect();
    assert_eq!(paths, ["agent", "usr/", "usr/share/", "usr/share/doc/", "usr/share/doc/notes"]);
    assert_eq!(inside["agent"], b"amd64");
}

#[test]
fn several_architectures_are_one_index_of_one_name() {
    let images = [Architecture::Amd64, Architecture::Arm64].map(image);
    let archive = Archive::of("registry.example.com/agent:1", &images).unwrap();
    let files = entries(&archive.bytes);
    let top = parsed(&files["index.json"]);
    assert_eq!(top["manifests"].as_array().unwrap().len(), 1, "{top}");
    let named = &top["manifests"][0];
    assert_eq!(named["mediaType"], json!(INDEX));
    assert_eq!(named["digest"], json!(archive.digest));
    let index = parsed(&follow(&files, named));
    for (described, name) in index["manifests"].as_array().unwrap().iter().zip(["amd64", "arm64"]) {
        assert_eq!(described["platform"], json!({"architecture": name, "os": "linux"}));
        let manifest = parsed(&follow(&files, described));
        let config = parsed(&follow(&files, &manifest["config"]));
        assert_eq!(config["architecture"], json!(name));
        let layer = follow(&files, &manifest["layers"][0]);
        assert_eq!(entries(&layer)["agent"], name.as_bytes());
    }
}

#[test]
fn names_are_completed_as_runtimes_do() {
    for (name, full) in [
        ("agent:1", "docker.io/library/agent:1"),
        ("owner/agent:1", "docker.io/owner/agent:1"),
        ("localhost/agent:1", "localhost/agent:1"),
        ("registry:5000/agent:1", "registry:5000/agent:1"),
        ("registry.example.com/a/agent:1", "registry.example.com/a/agent:1"),
    ] {
        assert_eq!(full_name(name), full);
    }
}

#[test]
fn the_same_files_give_the_same_bytes_in_whatever_order() {
    let of = |image: Image| Archive::of("agent:1", &[image]).unwrap();
    let one = || image(Architecture::Amd64);
    let mut other = one();
    other.files.reverse();
    assert_eq!(of(one()).bytes, of(other).bytes);
    let mut other = one();
    other.files[0].bytes.push(b'!');
    assert_ne!(of(one()).digest, of(other).digest);
}

#[test]
fn a_path_from_the_root_is_refused() {
    let mut wrong = image(Architecture::Amd64);
    wrong.files[0].path = "/agent".into();
    let error = Archive::of("agent:1", &[wrong]).unwrap_err().to_string();
    assert!(error.contains("/agent begins with a slash"), "{error}");
}
