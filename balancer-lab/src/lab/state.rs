//! Names, locks and the register of labs under `/run/balancer-lab`.

use std::{
    fs::{self, File, TryLockError},
    io::ErrorKind,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rand::Rng;

use crate::error::{Attempt, Error, Result, on};

/// Where every lab keeps its directory.
pub(super) const RUN_DIR: &str = "/run/balancer-lab";
/// The file that marks a lab as left up on purpose.
pub(super) const KEPT: &str = "kept";
/// Length of an identifier: fixed, so that no identifier is the beginning of another.
const ID_LENGTH: usize = 5;
const ID_ALPHABET: &[u8] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Held while something is made or removed, so that a signal never tears a lab down half-built.
static BUILDING: Mutex<()> = Mutex::new(());
/// The labs of this process, for the signal handler.
static OWN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The cgroup of a lab, below the root of the cgroup2 mount.
pub(super) fn cgroup_name(id: &str) -> String {
    format!("balancer-lab-{id}")
}

/// The network namespace of a lab's node, or of one of its pods.
pub(super) fn netns_name(id: &str, pod: Option<&str>) -> String {
    pod.map_or_else(|| format!("bl-{id}"), |pod| format!("bl-{id}-{pod}"))
}

/// The identifier in the name of a lab's cgroup or network namespace.
pub(super) fn id_of(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("balancer-lab-").or_else(|| name.strip_prefix("bl-"))?;
    let id = rest.get(..ID_LENGTH)?;
    let ends = rest.len() == ID_LENGTH || rest[ID_LENGTH..].starts_with('-');
    (ends && id.bytes().all(|byte| ID_ALPHABET.contains(&byte))).then_some(id)
}

/// Pod names become file names.
pub(super) fn check_name(name: &str) -> Result<()> {
    let fine =
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if fine && !name.is_empty() && name.len() <= 63 && name != "outside" {
        return Ok(());
    }
    Err(Error::Unmet(format!("pod name {name:?}: use up to 63 of a-z, 0-9 and -, not \"outside\"")))
}

/// Waits for, and keeps away, anything else that makes or removes parts of labs.
pub(super) fn building() -> MutexGuard<'static, ()> {
    BUILDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The labs this process owns.
pub(super) fn own() -> Vec<String> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Exclusive access to the register of labs: between two processes, creating and sweeping exclude
/// each other, else a sweep could take a directory whose lock is about to be taken for a dead lab's.
pub(super) struct Census(#[expect(dead_code, reason = "held for its lock")] File);

impl Census {
    pub(super) fn take() -> Result<Self> {
        fs::create_dir_all(RUN_DIR).attempt(format!("create {RUN_DIR}; labs need root"))?;
        let path = Path::new(RUN_DIR).join("lock");
        let file = File::create(&path).attempt(on("open", &path))?;
        file.lock().attempt(on("lock", &path))?;
        Ok(Self(file))
    }

    /// Enters a new lab into the register.
    pub(super) fn enrol(&self, name: &str) -> Result<State> {
        loop {
            let mut random = rand::rng();
            let id: String = (0..ID_LENGTH)
                .map(|_| char::from(ID_ALPHABET[random.random_range(0..ID_ALPHABET.len())]))
                .collect();
            let dir = Path::new(RUN_DIR).join(&id);
            match fs::create_dir(&dir) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                result => result.attempt(on("create", &dir))?,
            }
            fs::write(dir.join("name"), name).attempt(on("write", &dir))?;
            let path = dir.join("lock");
            let lock = File::create(&path).attempt(on("create", &path))?;
            lock.try_lock().attempt(on("lock", &path))?;
            OWN.lock().unwrap_or_else(PoisonError::into_inner).push(id.clone());
            return Ok(State { id, dir, lock, disowned: false });
        }
    }

    /// Whether nobody holds the lab's lock.
    pub(super) fn is_dead(&self, id: &str) -> bool {
        match File::open(Path::new(RUN_DIR).join(id).join("lock")) {
            Ok(file) => !matches!(file.try_lock(), Err(TryLockError::WouldBlock)),
            Err(_) => true,
        }
    }
}

/// A lab's entry in the register.
#[derive(Debug)]
pub(super) struct State {
    id: String,
    dir: PathBuf,
    lock: File,
    disowned: bool,
}

impl State {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The lock as a child's standard input: it stays held while the child lives.
    pub(super) fn share_lock(&self) -> Result<Stdio> {
        Ok(self.lock.try_clone().attempt("share the lock of the lab")?.into())
    }

    /// Forgets the lab: it was removed, or left to a holder.
    pub(super) fn disown(&mut self) {
        self.disowned = true;
        OWN.lock().unwrap_or_else(PoisonError::into_inner).retain(|id| *id != self.id);
    }

    pub(super) fn disowned(&self) -> bool {
        self.disowned
    }
}

/// The identifier of the lab to use: the one asked for, or the only one there is.
pub(super) fn find(id: Option<&str>) -> Result<String> {
    if let Some(id) = id {
        return Ok(id.to_owned());
    }
    let all = list()?;
    match all.as_slice() {
        [only] => Ok(only.0.clone()),
        [] => Err(Error::Unmet("no lab is up; `balancer-lab demo --keep` leaves one".into())),
        many => {
            let names: Vec<String> =
                many.iter().map(|(id, name)| format!("{id} ({name})")).collect();
            Err(Error::Unmet(format!(
                "several labs are up, choose one with --lab: {}",
                names.join(", ")
            )))
        }
    }
}

/// Identifier and name of every lab in the register.
pub(super) fn list() -> Result<Vec<(String, String)>> {
    let entries = match fs::read_dir(RUN_DIR) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        result => result.attempt(format!("list {RUN_DIR}"))?,
    };
    let mut labs: Vec<(String, String)> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| {
            let name = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
            (entry.file_name().to_string_lossy().into_owned(), name)
        })
        .collect();
    labs.sort();
    Ok(labs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_read_back_from_names() {
        assert_eq!(id_of(&cgroup_name("ab23z")), Some("ab23z"));
        assert_eq!(id_of(&netns_name("ab23z", Some("web-0"))), Some("ab23z"));
        assert_eq!(id_of(&netns_name("ab23z", None)), Some("ab23z"));
        for foreign in ["bl-ab23zz", "bl-ab", "balancer-lab-AB23Z", "cni-ab23z", "bl-é23zé"] {
            assert_eq!(id_of(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn pod_names_that_cannot_be_file_names_are_refused() {
        assert!(check_name("web-0").is_ok());
        for bad in ["", "a/b", "..", "A", "outside"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
