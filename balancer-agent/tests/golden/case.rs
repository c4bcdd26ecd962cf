//! A case: YAML with settings before it and what it gives after it, all in one file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use balancer_agent::{
    desired::{desired, node_ports::NodePortAddresses},
    source::Manifests,
};

use crate::dump;

/// Begins a line of settings.
const SETTING: &str = "#! ";
/// Begins a line of what the case gives.
const WANT: &str = "#>";

/// One file.
pub struct Case {
    path: PathBuf,
    /// All before what it gives: valid YAML.
    input: String,
    /// What it says that it gives.
    pub want: String,
    node: Option<String>,
    node_ports: NodePortAddresses,
}

impl Case {
    /// Reads a file.
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let (want, input): (Vec<_>, Vec<_>) = text.lines().partition(|l| l.starts_with(WANT));
        let mut case = Self {
            path: path.to_owned(),
            input: format!("{}\n", input.join("\n").trim_end()),
            want: want.into_iter().map(unmarked).collect(),
            node: Some("n".to_owned()),
            node_ports: NodePortAddresses::Primary,
        };
        for setting in input.iter().filter_map(|line| line.strip_prefix(SETTING)) {
            case.set(setting);
        }
        case
    }

    fn set(&mut self, setting: &str) {
        match setting.split_once(": ") {
            Some(("node", "none")) => self.node = None,
            Some(("node", name)) => self.node = Some(name.to_owned()),
            Some(("nodeport-addresses", ranges)) => {
                let ranges = ranges.split(',').map(|range| range.parse().unwrap()).collect();
                self.node_ports = NodePortAddresses::In(ranges);
            }
            _ => panic!("{}: {setting:?} is no setting; see README.md", self.path.display()),
        }
    }

    /// What it gives.
    pub fn run(&self) -> String {
        let folder = tempfile::tempdir().unwrap();
        let name = self.path.file_name().unwrap();
        fs::write(folder.path().join(name), &self.input).unwrap();
        let state = Manifests::read_once(folder.path(), self.node.as_deref()).unwrap();
        dump::all(&state, &desired(&state, &self.node_ports.clone().into()))
    }

    /// Writes what it gives into the file.
    pub fn bless(&self, got: &str) {
        let line = |line: &str| format!("{WANT} {line}").trim_end().to_owned() + "\n";
        let want: String = got.lines().map(line).collect();
        fs::write(&self.path, format!("{}\n{want}", self.input)).unwrap();
    }
}

/// A line of what the case gives, without its mark.
fn unmarked(line: &str) -> String {
    let text = line.trim_start_matches(WANT);
    format!("{}\n", text.strip_prefix(' ').unwrap_or(text))
}
