//! The modules of a crate, and the paths that they write.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use syn::{
    Attribute, File, Item, ItemMod, ItemUse, Macro, UseTree,
    visit::{self, Visit},
};

use crate::graph::{Import, Level};

/// The path of a module, or of what is in one, from the root of its crate.
pub type Name = Vec<String>;

/// Re-exports lead to re-exports; never so many.
const MOST: usize = 16;

/// A crate, as far as modules see each other.
pub struct Crate {
    docs: String,
    /// The file of each module.
    files: BTreeMap<Name, PathBuf>,
    /// What each module writes: as it stands there.
    written: Vec<(Name, Name)>,
    /// What a name in a module stands for: as it stands there.
    names: BTreeMap<Name, Name>,
}

impl Crate {
    /// Reads the crate that begins with a file.
    pub fn read(root: &Path) -> Self {
        let text = fs::read_to_string(root).expect("the root can be read");
        let docs = text.lines().filter_map(|line| line.strip_prefix("//! "));
        let docs = docs.collect::<Vec<_>>().join("\n");
        let mut read =
            Self { docs, files: BTreeMap::new(), written: Vec::new(), names: BTreeMap::new() };
        read.module(&Vec::new(), root, root.parent().expect("a folder"));
        read
    }

    /// The modules in the list of its docs: `- [`name`]: ...`, without a link where one is private.
    pub fn listed(&self) -> Vec<String> {
        let items = self.docs.lines().filter_map(|line| line.strip_prefix("- "));
        let items = items.filter_map(|item| item.trim_start_matches('[').strip_prefix('`'));
        // Where a macro has the same name, `mod@` says which is meant.
        let name = |item: &str| Some(item.split_once('`')?.0.trim_start_matches("mod@").to_owned());
        items.filter_map(name).collect()
    }

    /// The modules that its root declares.
    pub fn modules(&self) -> Vec<String> {
        self.files.keys().filter(|name| name.len() == 1).map(|name| name[0].clone()).collect()
    }

    /// What modules of one folder import from each other, by the folder.
    pub fn levels(&self) -> BTreeMap<Name, Level> {
        let mut levels: BTreeMap<Name, Level> = BTreeMap::new();
        for (module, path) in &self.written {
            let Some(path) = self.absolute(module, path) else { continue };
            let path = self.resolved(path);
            let common = module.iter().zip(&path).take_while(|(own, other)| own == other).count();
            let to = path.get(..=common).filter(|to| self.files.contains_key(*to));
            if let (Some(from), Some(to)) = (module.get(common), to) {
                let file = self.files[module].clone();
                let (from, to) = (from.clone(), to[common].clone());
                let level = levels.entry(module[..common].to_vec()).or_default();
                level.imports.push(Import { from, to, file, path });
            }
        }
        levels
    }

    fn module(&mut self, name: &Name, file: &Path, folder: &Path) {
        let text = fs::read_to_string(file).expect("a module can be read");
        let parsed: File =
            syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.files.insert(name.clone(), file.to_owned());
        self.items(name, &parsed.items, folder);
    }

    fn items(&mut self, name: &Name, items: &[Item], folder: &Path) {
        for item in items.iter().filter(|item| !is_test(item)) {
            match item {
                Item::Mod(inner) => self.child(name, inner, folder),
                Item::Use(inner) => self.import(name, inner),
                other => Paths { of: name, written: &mut self.written }.visit_item(other),
            }
        }
    }

    fn child(&mut self, parent: &Name, child: &ItemMod, folder: &Path) {
        let own = child.ident.to_string();
        let name = [&parent[..], std::slice::from_ref(&own)].concat();
        let below = folder.join(&own);
        match &child.content {
            Some((_, items)) => {
                self.files.insert(name.clone(), self.files[parent].clone());
                self.items(&name, items, &below);
            }
            None => {
                let files = [folder.join(format!("{own}.rs")), below.join("mod.rs")];
                let file = files.into_iter().find(|file| file.is_file());
                let file = file.unwrap_or_else(|| panic!("no file of `{}`", name.join("::")));
                self.module(&name, &file, &below);
            }
        }
    }

    fn import(&mut self, module: &Name, import: &ItemUse) {
        for (alias, path) in leaves(&import.tree) {
            if let Some(alias) = alias {
                self.names.insert([&module[..], &[alias]].concat(), path.clone());
            }
            self.written.push((module.clone(), path));
        }
    }

    /// A path from the root of the crate; none where it leads into another crate.
    fn absolute(&self, module: &Name, path: &Name) -> Option<Name> {
        let from = |module: &[String], rest: &[String]| Some([module, rest].concat());
        match path.first()?.as_str() {
            "crate" => from(&[], &path[1..]),
            "self" => from(module, &path[1..]),
            "super" => {
                let ups = path.iter().take_while(|segment| *segment == "super").count();
                from(&module[..module.len().checked_sub(ups)?], &path[ups..])
            }
            first => {
                let child = [&module[..], &[first.to_owned()]].concat();
                self.files.contains_key(&child).then(|| [&module[..], &path[..]].concat())
            }
        }
    }

    /// Where a path leads beyond re-exports.
    fn resolved(&self, mut path: Name) -> Name {
        for _ in 0..MOST {
            let next = (1..=path.len()).find_map(|end| {
                let (head, rest) = path.split_at(end);
                let (_, module) = head.split_last()?;
                let to = self.names.get(head).filter(|_| !self.files.contains_key(head))?;
                let to = self.absolute(&module.to_vec(), to)?;
                (to != head).then(|| [&to[..], rest].concat())
            });
            match next {
                Some(next) => path = next,
                None => break,
            }
        }
        path
    }
}

/// Every path of a `use`, and the name it has then, where it has one.
fn leaves(tree: &UseTree) -> Vec<(Option<String>, Name)> {
    match tree {
        UseTree::Path(path) => {
            let own = path.ident.to_string();
            let below = leaves(&path.tree).into_iter();
            below
                .map(|(alias, path)| match path.as_slice() {
                    [one] if one == "self" => (Some(own.clone()), vec![own.clone()]),
                    _ => (alias, [std::slice::from_ref(&own), &path[..]].concat()),
                })
                .collect()
        }
        UseTree::Name(name) => vec![(Some(name.ident.to_string()), vec![name.ident.to_string()])],
        UseTree::Rename(name) => {
            vec![(Some(name.rename.to_string()), vec![name.ident.to_string()])]
        }
        UseTree::Glob(_) => vec![(None, Vec::new())],
        UseTree::Group(group) => group.items.iter().flat_map(leaves).collect(),
    }
}

/// True for what is compiled for tests alone.
fn is_test(item: &Item) -> bool {
    let attributes: &[Attribute] = match item {
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    };
    attributes.iter().any(|attribute| {
        let list = attribute.meta.require_list();
        list.is_ok_and(|list| list.path.is_ident("cfg") && list.tokens.to_string() == "test")
    })
}

/// Gathers the paths of an item that begin with `crate`, `super` or `self`.
struct Paths<'a> {
    of: &'a Name,
    written: &'a mut Vec<(Name, Name)>,
}

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path.segments.iter().map(|segment| segment.ident.to_string());
        self.take(names.collect());
        visit::visit_path(self, path);
    }

    fn visit_item_use(&mut self, import: &'ast ItemUse) {
        for (_, path) in leaves(&import.tree) {
            self.take(path);
        }
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        let text = call.tokens.to_string().replace(" :: ", "::");
        for word in text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':') {
            self.take(word.split("::").map(str::to_owned).collect());
        }
        visit::visit_macro(self, call);
    }
}

impl Paths<'_> {
    fn take(&mut self, path: Name) {
        let is_own = |first: &String| ["crate", "super", "self"].contains(&first.as_str());
        if path.len() > 1 && path.first().is_some_and(is_own) {
            self.written.push((self.of.clone(), path));
        }
    }
}
