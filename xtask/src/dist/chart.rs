//! The Helm chart: as `helm package` makes it, and as `helm push` would put it into a registry.
//! <https://helm.sh/docs/topics/registries/#helm-chart-manifest>

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::archive::below;
use crate::{
    image::{layout::Layout, time},
    pack::{self, File},
    workspace::Workspace,
};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";
const CONTENT: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

/// Both forms.
pub fn files(workspace: &Workspace) -> Result<Vec<File>> {
    let folder = workspace.root.join("deploy/helm/balancer");
    let about = fs::read_to_string(folder.join("Chart.yaml")).context("reading Chart.yaml")?;
    let about = fields(&about);
    let field = |name: &str| about[name].as_str().with_context(|| format!("Chart.yaml: no {name}"));
    let (name, version) = (field("name")?, field("version")?);
    let mut files = Vec::new();
    read(&folder, "", &mut files)?;
    let content = pack::tar_gz(&below(name, files))?;

    let mut layout = Layout::default();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": layout.json(CONFIG, &Value::Object(about.clone())),
        "layers": [layout.blob(CONTENT, content.clone())],
        "annotations": {
            "org.opencontainers.image.title": name,
            "org.opencontainers.image.version": version,
            "org.opencontainers.image.description": field("description")?,
            "org.opencontainers.image.created": time::rfc3339(time::of_sources(workspace)?),
        },
    });
    let named = layout.json(MANIFEST, &manifest);
    let reference = json!({"org.opencontainers.image.ref.name": version});
    let artifact = layout.archive(named, &reference)?;
    Ok(vec![
        File::plain(format!("{name}-{version}.tgz"), content),
        File::plain(format!("{name}-{version}.chart.tar"), artifact.bytes),
    ])
}

/// The fields of the first level that are text: what registries show of a chart.
fn fields(text: &str) -> Map<String, Value> {
    let field = |line: &str| {
        let (key, value) = line.split_once(": ")?;
        let is_text = !key.starts_with([' ', '#']) && !value.starts_with(['[', '{']);
        is_text.then(|| (key.to_owned(), json!(value.trim().trim_matches('"'))))
    };
    text.lines().filter_map(field).collect()
}

fn read(folder: &Path, prefix: &str, files: &mut Vec<File>) -> Result<()> {
    let describe = || format!("reading {}", folder.display());
    for entry in fs::read_dir(folder).with_context(describe)? {
        let entry = entry.with_context(describe)?;
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            read(&entry.path(), &format!("{path}/"), files)?;
        } else {
            files.push(File::plain(path, fs::read(entry.path()).with_context(describe)?));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_registries_show_is_read() {
        let text = "apiVersion: v2\nname: a\nkubeVersion: \">=1.30.0-0\"\nkeywords: [b]\n\
                    annotations:\n  c: d\n";
        let want = json!({"apiVersion": "v2", "name": "a", "kubeVersion": ">=1.30.0-0"});
        assert_eq!(Value::Object(fields(text)), want);
    }
}
