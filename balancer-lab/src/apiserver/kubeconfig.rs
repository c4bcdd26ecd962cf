//! The file that tells clients where the server is and who they are.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde_json::json;

use crate::error::{Attempt, Result, on};

/// The files below a folder.
#[derive(Clone, Debug)]
pub struct Files {
    dir: PathBuf,
}

impl Files {
    /// Writes `kubeconfig`, and `ca.crt` and `token` that it names.
    pub fn write(dir: &Path, server: SocketAddr, authority: &str, token: &str) -> Result<Self> {
        let files = Self { dir: dir.to_owned() };
        fs::create_dir_all(dir).attempt(on("create", dir))?;
        put(&dir.join("ca.crt"), authority)?;
        files.write_token(token)?;
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": {
                "server": format!("https://{server}"),
                "certificate-authority": dir.join("ca.crt"),
            }}],
            "users": [{"name": "lab", "user": {"tokenFile": dir.join("token")}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
            "current-context": "lab",
        });
        put(&files.kubeconfig(), &format!("{config:#}\n"))?;
        Ok(files)
    }

    /// The file for clients.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// Replaces the token, as the kubelet does: clients read the file again.
    pub fn write_token(&self, token: &str) -> Result<()> {
        put(&self.dir.join("token"), token)
    }
}

/// Replaces a file in one step: a reader sees the old text or the new one.
fn put(path: &Path, text: &str) -> Result<()> {
    let aside = path.with_extension("new");
    fs::write(&aside, text).attempt(on("write", &aside))?;
    fs::rename(&aside, path).attempt(on("replace", path))
}
