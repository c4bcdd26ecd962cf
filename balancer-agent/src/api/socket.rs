//! The socket of the API: one agent at a time, for its own user only.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};
use thiserror::Error;
use tokio::net::{UnixListener, UnixSocket, UnixStream};

use crate::http::Listener;

/// Why the socket cannot be had.
#[derive(Debug, Error)]
pub enum BindError {
    /// There is an agent already.
    #[error(
        "another agent is running (pid {pid}) with the socket {}: stop it, or use --socket and \
         --bpffs for a second one",
        path.display()
    )]
    Taken {
        /// Its process, or `unknown`.
        pid: String,
        /// The socket.
        path: PathBuf,
    },
    /// Something that is no socket is in the way.
    #[error("{} is there and is not a socket: remove it, or use --socket", path.display())]
    NotASocket {
        /// What is in the way.
        path: PathBuf,
    },
    /// Whoever may write the folder may put another socket in the place of the agent's.
    #[error(
        "the folder {} of the socket can be written by others (mode {mode:o}, owner {owner}): \
         `chown root` and `chmod go-w` it, or use --socket for another place",
        path.display()
    )]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// Its owner.
        owner: u32,
    },
    /// The file system refuses.
    #[error("cannot {what} {}: {source}; use --socket for another place", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A bound socket; the file is removed when this is dropped.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    // Last: whoever gets the lock next must not meet our socket file.
    _lock: Flock<File>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, socket = %self.path.display(), "the socket was gone already");
        }
    }
}

impl Listener for Socket {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }
}

/// Binds `path`, mode 0600. What a dead agent left there is removed; a live one is an error.
///
/// A lock on `path` with `.lock` appended tells the two apart: the kernel drops it with its
/// process, however that ends, and two agents that start at once cannot both get it.
pub fn bind(path: &Path) -> Result<Socket, BindError> {
    let fault = |what| move |source| BindError::Io { what, path: path.to_owned(), source };
    if let Some(parent) = path.parent() {
        let mut folder = DirBuilder::new();
        folder.recursive(true).mode(0o700).create(parent).map_err(|source| BindError::Io {
            what: "make the folder",
            path: parent.to_owned(),
            source,
        })?;
        check_folder(parent)?;
    }
    let lock = lock(path)?;
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            fs::remove_file(path).map_err(fault("remove the socket of a dead agent,"))?;
        }
        Ok(_) => return Err(BindError::NotASocket { path: path.to_owned() }),
        Err(_) => {}
    }
    let socket = UnixSocket::new_stream().map_err(fault("make"))?;
    socket.bind(path).map_err(fault("bind"))?;
    // Nobody can connect before listen(), so there is no moment with wider permissions.
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(fault("protect"))?;
    let listener = socket.listen(128).map_err(fault("listen on"))?;
    Ok(Socket { listener, path: path.to_owned(), _lock: lock })
}

/// An error where anybody but root and this user may replace files of the folder. In one with the
/// sticky bit (`/tmp`) nobody may replace those of others.
fn check_folder(path: &Path) -> Result<(), BindError> {
    let fault = |source| BindError::Io { what: "look at", path: path.to_owned(), source };
    // A relative path of one name has the empty folder.
    let place = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let found = fs::metadata(place).map_err(fault)?;
    let mode = found.permissions().mode() & 0o7777;
    let is_own = [0, nix::unistd::geteuid().as_raw()].contains(&found.uid());
    let is_shared = mode & 0o022 != 0 && mode & 0o1000 == 0;
    if is_own && !is_shared {
        return Ok(());
    }
    Err(BindError::Folder { path: path.to_owned(), mode, owner: found.uid() })
}

fn lock(path: &Path) -> Result<Flock<File>, BindError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let fault = |source| BindError::Io { what: "lock", path: name.clone(), source };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&name)
        .map_err(fault)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            lock.set_len(0)
                .and_then(|()| lock.rewind())
                .and_then(|()| write!(lock, "{}", std::process::id()))
                .map_err(fault)?;
            Ok(lock)
        }
        Err((mut held, nix::errno::Errno::EWOULDBLOCK)) => {
            let mut pid = String::new();
            let known = held.read_to_string(&mut pid).is_ok() && pid.parse::<u32>().is_ok();
            let pid = if known { pid } else { "unknown".to_owned() };
            Err(BindError::Taken { pid, path: path.to_owned() })
        }
        Err((_, errno)) => Err(fault(errno.into())),
    }
}
