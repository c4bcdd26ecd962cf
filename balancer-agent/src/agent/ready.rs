//! Tells the supervisor that the first complete state is in the maps (sd_notify(3)).

use std::{env, os::unix::net::UnixDatagram, path::PathBuf, sync::Once};

static ONCE: Once = Once::new();

/// Sends `READY=1` to `$NOTIFY_SOCKET`, once. Without a supervisor there is nobody to tell.
pub fn announce() {
    ONCE.call_once(|| {
        let Some(path) = env::var_os("NOTIFY_SOCKET").map(PathBuf::from) else { return };
        let told = UnixDatagram::unbound().and_then(|socket| socket.send_to(b"READY=1", &path));
        if let Err(error) = told {
            tracing::warn!(socket = %path.display(), %error, "the supervisor can't be told");
        }
    });
}
