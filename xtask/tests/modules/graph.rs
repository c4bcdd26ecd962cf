//! What the modules of one folder import from each other.

use std::{collections::BTreeSet, path::PathBuf};

/// A path in one module that leads into another one of the same folder.
#[derive(Clone, Debug)]
pub struct Import {
    /// The module, or the one beside the other that it is in.
    pub from: String,
    /// The other.
    pub to: String,
    /// The file.
    pub file: PathBuf,
    /// The path, from the root of the crate.
    pub path: Vec<String>,
}

/// All that the modules of a folder import from each other.
#[derive(Clone, Debug, Default)]
pub struct Level {
    /// In no order.
    pub imports: Vec<Import>,
}

impl Level {
    /// The imports of which circles are made; nothing where there is no circle.
    pub fn circle(&self) -> Vec<&Import> {
        let mut left: Vec<&Import> = self.imports.iter().collect();
        loop {
            // What imports nothing, or is imported by nobody, is in no circle.
            let importing: BTreeSet<_> = left.iter().map(|import| &import.from).collect();
            let imported: BTreeSet<_> = left.iter().map(|import| &import.to).collect();
            let before = left.len();
            left.retain(|import| importing.contains(&import.to) && imported.contains(&import.from));
            if left.len() == before {
                return left;
            }
        }
    }
}
