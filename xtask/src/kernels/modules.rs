//! The drivers that the tests need, as files of a kernel's package: in the order in which they can
//! be loaded, each after those it depends on.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// Pods are joined by veth, the nodes of a lab by a bridge; sockets are found and ended through the
/// diag modules. What a kernel has built in, or not at all, is no file of its package.
const NEEDED: [&str; 5] = ["veth", "bridge", "inet_diag", "tcp_diag", "udp_diag"];

/// A driver, ready to be loaded.
#[derive(Debug)]
pub struct Module {
    /// Its name, with underscores.
    pub name: String,
    /// Its contents, not compressed.
    pub bytes: Vec<u8>,
}

/// Reads the modules that are needed.
pub fn needed(folder: &Path) -> Result<Vec<Module>> {
    let mut files = BTreeMap::new();
    find(folder, &mut files)?;
    let mut ordered = Vec::new();
    for name in NEEDED {
        add(name, &files, &mut ordered)?;
    }
    Ok(ordered)
}

fn add(name: &str, files: &BTreeMap<String, PathBuf>, ordered: &mut Vec<Module>) -> Result<()> {
    if ordered.iter().any(|module| module.name == name) {
        return Ok(());
    }
    let Some(path) = files.get(name) else { return Ok(()) };
    let bytes = contents(path)?;
    for other in depends(&bytes) {
        add(&other, files, ordered)?;
    }
    ordered.push(Module { name: name.to_owned(), bytes });
    Ok(())
}

/// All modules below a folder, by name.
fn find(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("reading {}", folder.display()))?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if let Some(name) = path.file_name().and_then(|name| name.to_str())
            && let Some((name, _)) = name.split_once(".ko")
        {
            files.insert(name.replace('-', "_"), path);
        }
    }
    Ok(())
}

fn contents(path: &Path) -> Result<Vec<u8>> {
    let program = match path.extension().and_then(|end| end.to_str()) {
        Some("ko") => return fs::read(path).with_context(|| format!("reading {}", path.display())),
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => bail!("{} is compressed in a way not known here", path.display()),
    };
    let output = Command::new(program).arg("-dc").arg(path).output();
    let output = output.with_context(|| format!("starting {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{program} -dc {}`: {} {said}", path.display(), output.status);
    }
    Ok(output.stdout)
}

/// The `depends=` of a module's `.modinfo`, a section of strings that each end with a zero byte.
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let value = module[at + KEY.len()..].split(|&byte| byte == 0).next().unwrap_or_default();
    let value = String::from_utf8_lossy(value);
    value.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_comes_after_those_it_depends_on() {
        let folder = tempfile::tempdir().unwrap();
        let net = folder.path().join("net");
        fs::create_dir(&net).unwrap();
        let module =
            |depends: &str| format!("\x7fELF\0license=GPL\0depends={depends}\0retpoline=Y\0");
        fs::write(net.join("inet_diag.ko"), module("")).unwrap();
        fs::write(net.join("tcp-diag.ko"), module("inet-diag,built_in")).unwrap();
        fs::write(net.join("tipc.ko"), module("udp_tunnel")).unwrap();
        let all = needed(folder.path()).unwrap();
        let names: Vec<_> = all.iter().map(|module| module.name.as_str()).collect();
        assert_eq!(names, ["inet_diag", "tcp_diag"]);
    }
}
