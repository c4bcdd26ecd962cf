//! The keys that agents share: a file with one key a line.
//!
//! The first line is the key that this agent sends with; what any of the lines sealed is received.
//! So a key is changed without a gap: add the new one as the second line everywhere, then make it
//! the first, then remove the old one. A line is used as it is written, through HKDF: base64 or hex
//! of 32 random bytes are alike good.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use ring::hkdf;

/// Characters of a key at least.
const SHORTEST: usize = 32;
/// Different characters of a key at least: fewer are no random ones.
const DIFFERENT: usize = 8;
/// Keys at most: each costs whoever is sent something that none of them sealed.
const MOST: usize = 4;
/// Bytes of a file at most.
const LONGEST: u64 = 16 * 1024;
/// Bits of a mode by which others than the owner and the group read or write.
const OTHERS: u32 = 0o006;

/// How a key is made, for messages.
const HOW: &str = "make one with: openssl rand -base64 32";

/// Keys, the one to send with first. Nothing of them is ever shown.
#[derive(Clone)]
pub struct Keys(Vec<hkdf::Prk>, Vec<[u8; 32]>);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file can't be read.
    #[error("peer key {}: {source}; {HOW}, and name its file with --peer-key", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner and its group can read or write the file.
    #[error(
        "peer key {} can be read or changed by everybody (mode {mode:04o}): chmod 0400, or \
         defaultMode: 0400 of the Secret's volume",
        .file.display()
    )]
    Open {
        /// The file.
        file: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// There is no key in it.
    #[error("peer key {} is empty: {HOW}", .file.display())]
    Empty {
        /// The file.
        file: PathBuf,
    },
    /// A line is no key.
    #[error("peer key {}, line {line}: {problem}: {HOW}", .file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
}

impl Keys {
    /// Reads a file of keys.
    ///
    /// # Errors
    ///
    /// Where it can't be read, everybody can read it, or a line of it is no key.
    pub fn read(file: &Path) -> Result<Self, KeyError> {
        let unreadable = |source| KeyError::Unreadable { file: file.to_owned(), source };
        let opened = File::open(file).map_err(unreadable)?;
        let mode = opened.metadata().map_err(unreadable)?.mode() & 0o7777;
        if mode & OTHERS != 0 {
            return Err(KeyError::Open { file: file.to_owned(), mode });
        }
        let mut text = String::new();
        opened.take(LONGEST).read_to_string(&mut text).map_err(unreadable)?;
        Self::parse(&text, file)
    }

    /// The keys of a text; `file` is where it stands.
    ///
    /// # Errors
    ///
    /// Where there is none, or a line is no key.
    pub fn parse(text: &str, file: &Path) -> Result<Self, KeyError> {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"balancer peers");
        let (mut keys, mut marks) = (Vec::new(), Vec::new());
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let problem = fault(line)
                .or_else(|| (keys.len() == MOST).then(|| format!("more than {MOST} keys")));
            if let Some(problem) = problem {
                return Err(KeyError::Line { file: file.to_owned(), line: index + 1, problem });
            }
            let key = salt.extract(line.as_bytes());
            let mut mark = [0; 32];
            key.expand(&[b"mark"], hkdf::HKDF_SHA256)
                .and_then(|okm| okm.fill(&mut mark))
                .unwrap_or_else(|_| unreachable!("32 bytes are what HKDF-SHA256 gives"));
            keys.push(key);
            marks.push(mark);
        }
        if keys.is_empty() {
            return Err(KeyError::Empty { file: file.to_owned() });
        }
        Ok(Self(keys, marks))
    }

    /// The key to send with.
    pub fn first(&self) -> &hkdf::Prk {
        &self.0[0]
    }

    /// Every key.
    pub fn all(&self) -> &[hkdf::Prk] {
        &self.0
    }
}

impl PartialEq for Keys {
    fn eq(&self, other: &Self) -> bool {
        self.1 == other.1
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}

/// What is wrong with a key. Nothing of the key is told.
fn fault(line: &str) -> Option<String> {
    let length = line.chars().count();
    if length < SHORTEST {
        return Some(format!("a key of {length} characters, of at least {SHORTEST}"));
    }
    let mut different: Vec<char> = line.chars().collect();
    different.sort_unstable();
    different.dedup();
    let few = different.len() < DIFFERENT;
    few.then(|| format!("a key of {} different characters is no random one", different.len()))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    const KEY: &str = "3Zt1mXo2v0bqv5rM8nQ5kq0yQvB2m0x3o1S9c7wTgkE=";
    const OTHER: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    fn parse(text: &str) -> Result<Keys, String> {
        Keys::parse(text, Path::new("/k")).map_err(|error| error.to_string())
    }

    #[test]
    fn each_line_is_a_key() {
        let keys = parse(&format!("{KEY}\n\n  {OTHER}\r\n")).unwrap();
        assert_eq!(keys.all().len(), 2);
        assert_eq!(keys, parse(&format!("{KEY}\n{OTHER}")).unwrap());
        assert_ne!(keys, parse(&format!("{OTHER}\n{KEY}")).unwrap());
        assert!(!format!("{keys:?}").contains("3Zt1"), "{keys:?}");
    }

    #[test]
    fn what_is_no_key_is_named_and_not_shown() {
        let repeated = "ab".repeat(20);
        let many = format!("{KEY}\n").repeat(5);
        for (text, words) in [
            ("", "/k is empty: make one with: openssl rand -base64 32"),
            (" \n\n", "/k is empty"),
            ("hunter2", "/k, line 1: a key of 7 characters, of at least 32"),
            (&format!("{KEY}\nhunter2"), "/k, line 2: a key of 7 characters"),
            (&repeated, "/k, line 1: a key of 2 different characters is no random one"),
            (&many, "/k, line 5: more than 4 keys"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(words), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_file_that_everybody_reads_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let missing = Keys::read(&file).unwrap_err().to_string();
        assert!(missing.contains("No such file"), "{missing}");
        fs::write(&file, KEY).unwrap();
        for (mode, fine) in [(0o400, true), (0o440, true), (0o644, false), (0o402, false)] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let read = Keys::read(&file).map_err(|error| error.to_string());
            match read {
                Ok(_) => assert!(fine, "{mode:o}"),
                Err(error) => {
                    assert!(!fine && error.contains(&format!("mode {mode:04o}")), "{error}");
                }
            }
        }
    }
}
