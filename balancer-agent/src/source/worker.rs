//! The loop that keeps the state of a folder, on its own thread: parsing a large file takes longer
//! than an async task may hold its thread.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch::Sender;

use super::{
    disk::list,
    folder::Folder,
    merge::Merged,
    watch::{Signal, Watch},
};
use crate::model::State;

/// How often to look for what inotify does not tell: network file systems, a swapped ancestor of
/// the folder, a lost event.
const LOOK: Duration = Duration::from_secs(1);
/// How often to look for a folder that is away.
const RETRY: Duration = Duration::from_millis(100);
/// Events of a write that raced with our reading have arrived after this long.
const RACE: Duration = Duration::from_millis(1);

/// Publishes each new state of the folder until nobody listens.
pub fn run(dir: &Path, mut watch: Watch, states: &Sender<Arc<Merged>>) {
    let mut folder = Folder::new(dir.to_owned());
    let mut published: Option<Arc<Merged>> = None;
    let mut signals = Vec::new();
    // What was read and is not published, since more is about to be read.
    let mut changed = false;
    while !signals.contains(&Signal::Stop) {
        let now = Instant::now();
        for signal in signals {
            folder.note(signal, now);
        }
        watch.arm();
        changed |= look(dir, &mut folder, &mut watch, now);
        let fresh = folder.read_due(now);
        if !fresh.is_empty() {
            let later = watch.wait(Instant::now() + RACE);
            if later.contains(&Signal::Stop) {
                return;
            }
            for signal in later {
                folder.note(signal, Instant::now());
            }
            changed |= folder.settle(fresh, Instant::now());
        }
        let now = Instant::now();
        let is_read = folder.next_due().is_none_or(|due| due > now);
        if is_read && folder.is_complete(now) && (changed || published.is_none()) {
            changed = false;
            let state = Arc::new(folder.merged());
            if published.as_ref() != Some(&state) {
                states.send_replace(state.clone());
                published = Some(state);
            }
        }
        let pause = if folder.is_away() { RETRY } else { LOOK };
        let next_look = Instant::now() + pause;
        signals = watch.wait(folder.next_due().map_or(next_look, |due| due.min(next_look)));
    }
}

fn look(dir: &Path, folder: &mut Folder, watch: &mut Watch, now: Instant) -> bool {
    let listing = list(dir);
    if let Ok(listing) = &listing {
        watch.arm_links(listing);
    }
    folder.compare(&listing, now)
}

/// The state of the folder as it is now.
pub fn read_once(dir: &Path, node: Option<&str>) -> std::io::Result<State> {
    let now = Instant::now();
    let mut folder = Folder::new(dir.to_owned());
    folder.compare(&Ok(list(dir)?), now);
    // A file that changes while it is read is due again.
    while let Some(due) = folder.next_due() {
        let fresh = folder.read_due(due);
        folder.settle(fresh, due);
    }
    Ok(folder.merged().state(node))
}
