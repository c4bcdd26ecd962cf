//! What the binary is made of, in the form of CycloneDX: every crate that is linked into the agent or
//! into the eBPF programs within it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Metadata, Node, NodeDep, Package, PackageId};
use serde_json::{Value, json};

use crate::{shipped::AGENT, workspace::Workspace};

/// The crates that nothing else leads to.
const ROOTS: [&str; 2] = [AGENT, "balancer-ebpf"];

/// The crates of the binary, and which needs which.
#[derive(Debug)]
pub struct Packages {
    /// Version of the agent.
    pub version: String,
    /// By identifier.
    packages: BTreeMap<PackageId, Package>,
    needs: BTreeMap<PackageId, BTreeSet<PackageId>>,
}

/// Asks cargo.
pub fn packages(workspace: &Workspace, target: &str) -> Result<Packages> {
    let options = ["--locked", "--filter-platform", target].map(str::to_owned);
    let said = workspace.metadata().other_options(options).exec();
    Packages::of(said.context("cargo metadata failed: is Cargo.lock up to date?")?)
}

impl Packages {
    fn of(metadata: Metadata) -> Result<Self> {
        let known: BTreeMap<_, _> =
            metadata.packages.into_iter().map(|package| (package.id.clone(), package)).collect();
        let linked = |node: &Node| -> BTreeSet<PackageId> {
            let is_linked = |dep: &&NodeDep| {
                dep.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal)
            };
            node.deps.iter().filter(is_linked).map(|dep| dep.pkg.clone()).collect()
        };
        let nodes = metadata.resolve.context("cargo metadata resolves nothing")?.nodes;
        let all: BTreeMap<_, _> =
            nodes.iter().map(|node| (node.id.clone(), linked(node))).collect();
        let is_root =
            |package: &&Package| package.source.is_none() && ROOTS.contains(&package.name.as_str());
        let roots: Vec<_> = known.values().filter(is_root).collect();
        let agent = roots.iter().find(|package| package.name == AGENT);
        let version = agent.context("cargo metadata does not name the agent")?.version.to_string();

        let mut needs = BTreeMap::new();
        let mut queue: VecDeque<_> = roots.iter().map(|package| package.id.clone()).collect();
        while let Some(id) = queue.pop_front() {
            if needs.contains_key(&id) {
                continue;
            }
            let of_this = all.get(&id).cloned().unwrap_or_default();
            queue.extend(of_this.iter().cloned());
            needs.insert(id, of_this);
        }
        let packages = known.into_iter().filter(|(id, _)| needs.contains_key(id)).collect();
        Ok(Self { version, packages, needs })
    }

    /// The text of the bill. It has neither a serial number nor a time, which would differ each time.
    pub fn bill(&self) -> Result<Vec<u8>> {
        let reference = |id: &PackageId| self.packages.get(id).map(purl);
        let components: Vec<_> = self.packages.values().map(component).collect();
        let dependencies: Vec<_> = self
            .needs
            .iter()
            .filter_map(|(id, needs)| {
                let mut on: Vec<_> = needs.iter().filter_map(reference).collect();
                on.sort();
                Some(json!({"ref": reference(id)?, "dependsOn": on}))
            })
            .collect();
        let bill = json!({
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "version": 1,
            "metadata": {
                "component": {
                    "type": "container",
                    "bom-ref": "image",
                    "name": AGENT,
                    "version": self.version,
                },
            },
            "components": components,
            "dependencies": dependencies,
        });
        let mut text = serde_json::to_vec_pretty(&bill).context("writing the bill")?;
        text.push(b'\n');
        Ok(text)
    }
}

/// The name of a package among those of all languages.
fn purl(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version.to_string().replace('+', "%2B"))
}

fn component(package: &Package) -> Value {
    let mut component = json!({
        "type": if package.name == AGENT { "application" } else { "library" },
        "bom-ref": purl(package),
        "name": package.name,
        "version": package.version,
        "purl": purl(package),
    });
    if let Some(license) = &package.license {
        // Crates of old write a slash for OR.
        component["licenses"] = json!([{"expression": license.replace('/', " OR ")}]);
    }
    component
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        let package = |name: &str, license: Value, source: Value| {
            json!({
                "id": format!("{name} 1"),
                "name": name,
                "version": "1.0.0+x",
                "license": license,
                "source": source,
                "targets": [],
                "dependencies": [],
                "features": {},
                "manifest_path": format!("/{name}/Cargo.toml"),
            })
        };
        let node = |name: &str, deps: &[(&str, &[Value])]| {
            let dep = |(name, kinds): &(&str, &[Value])| {
                let kinds: Vec<_> =
                    kinds.iter().map(|kind| json!({"kind": kind, "target": null})).collect();
                json!({"name": name, "pkg": format!("{name} 1"), "dep_kinds": kinds})
            };
            let deps: Vec<_> = deps.iter().map(dep).collect();
            json!({"id": format!("{name} 1"), "deps": deps, "dependencies": [], "features": []})
        };
        let (normal, dev, build) = (Value::Null, json!("dev"), json!("build"));
        let said = json!({
            "version": 1,
            "workspace_root": "/",
            "target_directory": "/target",
            "workspace_members": [],
            "packages": [
                package("balancer-agent", json!("Apache-2.0"), Value::Null),
                package("balancer-ebpf", json!("GPL-2.0"), Value::Null),
                package("linked", json!("MIT/Apache-2.0"), json!("registry")),
                package("deep", Value::Null, json!("registry")),
                package("tester", json!("MIT"), json!("registry")),
                package("builder", json!("MIT"), json!("registry")),
                package("xtask", json!("MIT"), Value::Null),
            ],
            "resolve": {"nodes": [
                node("balancer-agent", &[
                    ("linked", &[dev.clone(), normal.clone()]),
                    ("tester", &[dev]),
                    ("builder", &[build]),
                ]),
                node("balancer-ebpf", &[]),
                node("linked", &[("deep", &[normal])]),
                node("deep", &[]),
            ]},
        });
        serde_json::from_value(said).unwrap()
    }

    #[test]
    fn what_is_linked_is_in_the_bill_and_nothing_else() {
        let packages = Packages::of(metadata()).unwrap();
        let bill: Value = serde_json::from_slice(&packages.bill().unwrap()).unwrap();
        let components = bill["components"].as_array().unwrap();
        let names: Vec<_> = components.iter().map(|c| c["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["balancer-agent", "balancer-ebpf", "deep", "linked"]);
        assert_eq!(components[3]["licenses"], json!([{"expression": "MIT OR Apache-2.0"}]));
        assert_eq!(components[3]["purl"], json!("pkg:cargo/linked@1.0.0%2Bx"));
        assert_eq!(components[2].get("licenses"), None);
        let of_agent = &bill["dependencies"][0];
        assert_eq!(of_agent["ref"], json!("pkg:cargo/balancer-agent@1.0.0%2Bx"));
        assert_eq!(of_agent["dependsOn"], json!(["pkg:cargo/linked@1.0.0%2Bx"]));
    }
}
