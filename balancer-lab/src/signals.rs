//! SIGINT, SIGTERM and SIGHUP remove the labs of this process before it ends.

use std::{io, process, thread};

use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

use crate::lab;

/// Watches for the signals on a thread of its own, as the main thread is busy.
pub fn watch() -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate, mut hangup) = {
        let _context = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        )
    };
    thread::spawn(move || {
        let number = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => 2,
                _ = terminate.recv() => 15,
                _ = hangup.recv() => 1,
            }
        });
        if let Err(error) = lab::remove_own() {
            anstream::eprintln!("balancer-lab: {error}; `balancer-lab sweep` tries again");
        }
        process::exit(128 + number);
    });
    Ok(())
}
