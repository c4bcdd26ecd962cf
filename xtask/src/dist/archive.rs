//! The archive of one architecture.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::{
    architecture::Architecture,
    image::{self, Built},
    pack::{self, File},
    setup,
    shipped::AGENT,
    workspace::Workspace,
};

/// The scripts of shells, with the names that these look for.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "bash-completion/completions/balancer-agent"),
    ("zsh", "zsh/site-functions/_balancer-agent"),
    ("fish", "fish/vendor_completions.d/balancer-agent.fish"),
];

/// What the binary says of itself, which is the same for all architectures.
#[derive(Debug)]
pub struct Extras(Vec<File>);

impl Extras {
    /// Asks the binary that is handed out; one of another architecture is run by QEMU.
    pub fn ask(workspace: &Workspace, built: &[Built]) -> Result<Self> {
        let host = Architecture::of_host()?;
        let one = built.iter().find(|one| one.architecture == host).or(built.first());
        let one = one.context("nothing was built")?;
        let folder = tempfile::tempdir_in(&workspace.target).context("making a folder")?;
        let program = folder.path().join(AGENT);
        write_program(&program, &one.binary)?;
        let command = || -> Result<Command> {
            if one.architecture == host {
                return Ok(Command::new(&program));
            }
            let mut command = Command::new(setup::for_images(one.architecture)?);
            command.arg(&program);
            Ok(command)
        };
        let mut files = Vec::new();
        for (shell, path) in COMPLETIONS {
            let script = said(command()?.args(["completions", shell]))?;
            files.push(File::plain(format!("share/{path}"), script));
        }
        let manual = folder.path().join("man");
        fs::create_dir(&manual).context("making a folder")?;
        said(command()?.arg("manual").arg(&manual))?;
        for entry in fs::read_dir(&manual).context("reading the man pages")? {
            let path = entry.context("reading the man pages")?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let page = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            files.push(File::plain(format!("share/man/man1/{name}"), page));
        }
        Ok(Self(files))
    }
}

fn write_program(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    let describe = || format!("writing {}", path.display());
    fs::write(path, bytes).with_context(describe)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).with_context(describe)
}

fn said(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.stdin(Stdio::null()).output().context("starting the agent")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}\n{error}", output.status);
    Ok(output.stdout)
}

/// Everything below one folder: what is in `share` fits below `/usr/local/share`.
pub fn of(workspace: &Workspace, built: &Built, extras: &Extras) -> Result<File> {
    let name = format!("{AGENT}-{}-linux-{}", built.version, built.architecture.name());
    let doc = format!("share/doc/{AGENT}");
    let mut files = image::licences(workspace, &doc)?;
    files.push(File::program(format!("bin/{AGENT}"), built.binary.clone()));
    files.push(File::plain(format!("{doc}/sbom.cdx.json"), built.bill.clone()));
    for page in ["README.md", "CHANGELOG.md"] {
        let path = workspace.root.join(page);
        let text = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        files.push(File::plain(format!("{doc}/{page}"), text));
    }
    files.extend(extras.0.iter().cloned());
    Ok(File::plain(format!("{name}.tar.gz"), pack::tar_gz(&below(&name, files))?))
}

/// The same files in a folder.
pub fn below(folder: &str, files: Vec<File>) -> Vec<File> {
    let moved = |file: File| File { path: format!("{folder}/{}", file.path), ..file };
    files.into_iter().map(moved).collect()
}
