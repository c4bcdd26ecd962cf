//! What inotify tells about a folder, as signals.
//!
//! Watched are the folder, the folder above it (which sees it come back after it was removed or
//! swapped), and the target of each link in it. Watching only hints at what to read when:
//! a slow look at the whole folder finds what no event told.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender},
    time::{Duration, Instant},
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, ModifyKind},
};

use super::disk::{Listing, Stamp, is_manifest};

/// A burst of events is taken as one once it pauses for this long, ...
const PAUSE: Duration = Duration::from_millis(2);
/// ... or after this long.
const BURST: Duration = Duration::from_millis(5);

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// A manifest may be read: it came, went, or its writer closed it.
    Ready(String),
    /// A manifest is being written.
    Writing(String),
    /// Anything else in the folder changed, or events were lost.
    Folder,
    /// Nobody listens any more.
    Stop,
}

/// The watches on a folder.
pub struct Watch {
    watcher: RecommendedWatcher,
    signals: Receiver<Signal>,
    dir: PathBuf,
    links: BTreeMap<String, Stamp>,
}

impl Watch {
    /// Starts to watch `dir`, which must be absolute.
    pub fn new(
        dir: PathBuf,
        sender: Sender<Signal>,
        signals: Receiver<Signal>,
    ) -> notify::Result<Self> {
        let folder = dir.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            for signal in translate(&folder, event.as_ref()) {
                // Fails only while the reader ends.
                let _ = sender.send(signal);
            }
        })?;
        let mut watch = Self { watcher, signals, dir, links: BTreeMap::new() };
        watch.watcher.watch(&watch.dir, RecursiveMode::NonRecursive)?;
        watch.arm();
        Ok(watch)
    }

    /// Watches the folder that has the name now; to be called before each look at it.
    pub fn arm(&mut self) {
        for path in [Some(self.dir.as_path()), self.dir.parent()].into_iter().flatten() {
            // A folder that is away can't be watched; that is told where it is listed.
            if let Err(error) = self.watcher.watch(path, RecursiveMode::NonRecursive) {
                tracing::debug!(path = %path.display(), %error, "not watched");
            }
        }
    }

    /// Watches what the links point to now: writing there tells the folder nothing.
    pub fn arm_links(&mut self, listing: &Listing) {
        let now: BTreeMap<String, Stamp> = (listing.files.iter())
            .filter(|(_, listed)| listed.link)
            .filter_map(|(name, listed)| Some((name.clone(), listed.stamp?)))
            .collect();
        for (name, stamp) in &now {
            if !self.links.get(name).is_some_and(|armed| armed.same_file(stamp)) {
                let path = self.dir.join(name);
                if let Err(error) = self.watcher.watch(&path, RecursiveMode::NonRecursive) {
                    tracing::debug!(path = %path.display(), %error, "not watched");
                }
            }
        }
        self.links = now;
    }

    /// Waits for a burst of signals, at most until `deadline`.
    pub fn wait(&mut self, deadline: Instant) -> Vec<Signal> {
        let mut burst = Vec::new();
        let mut until = deadline;
        let mut end = None;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.signals.recv_timeout(left) {
                Ok(signal) => burst.push(signal),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    burst.push(Signal::Stop);
                    break;
                }
            }
            let now = Instant::now();
            until = (now + PAUSE).min(*end.get_or_insert(now + BURST));
        }
        for signal in &burst {
            if let Signal::Ready(name) = signal {
                // Its target may be another file now: watch it again at the next look.
                self.links.remove(name);
            }
        }
        burst
    }
}

fn translate(dir: &Path, event: Result<&Event, &notify::Error>) -> Vec<Signal> {
    let Ok(event) = event else { return vec![Signal::Folder] };
    if event.need_rescan() {
        return vec![Signal::Folder];
    }
    let writing = matches!(event.kind, EventKind::Modify(ModifyKind::Data(_)));
    let closed = event.kind == EventKind::Access(AccessKind::Close(AccessMode::Write));
    if event.kind.is_access() && !closed {
        // Our own reading, among others.
        return Vec::new();
    }
    (event.paths.iter())
        .filter_map(|path| {
            if path == dir {
                return Some(Signal::Folder);
            }
            let name = path.strip_prefix(dir).ok()?.to_str()?;
            match (is_manifest(name), writing) {
                (true, true) => Some(Signal::Writing(name.to_owned())),
                (true, false) => Some(Signal::Ready(name.to_owned())),
                // Only a name that comes or goes can change what a link points to.
                (false, _) => (!writing && !closed).then_some(Signal::Folder),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, DataChange, Flag, MetadataKind, RemoveKind, RenameMode};

    use super::*;

    #[test]
    fn events_become_signals() {
        let data = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let opened = EventKind::Access(AccessKind::Open(AccessMode::Any));
        let created = EventKind::Create(CreateKind::File);
        let removed = EventKind::Remove(RemoveKind::File);
        let renamed = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        let attributes = EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any));
        let ready = || vec![Signal::Ready("a.yaml".into())];
        let cases = [
            (data, "/m/a.yaml", vec![Signal::Writing("a.yaml".into())]),
            (closed, "/m/a.yaml", ready()),
            (opened, "/m/a.yaml", vec![]),
            (created, "/m/a.yaml", ready()),
            (removed, "/m/a.yaml", ready()),
            (renamed, "/m/a.yaml", ready()),
            (attributes, "/m/a.yaml", ready()),
            (data, "/m/.a.yaml.swp", vec![]),
            (closed, "/m/notes.txt", vec![]),
            (renamed, "/m/..data", vec![Signal::Folder]),
            (removed, "/m", vec![Signal::Folder]),
            (created, "/m", vec![Signal::Folder]),
            (opened, "/m", vec![]),
            (created, "/other", vec![]),
            (data, "/other/a.yaml", vec![]),
        ];
        for (kind, path, want) in cases {
            let event = Event::new(kind).add_path(path.into());
            assert_eq!(translate(Path::new("/m"), Ok(&event)), want, "{kind:?} of {path}");
        }
        let lost = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        assert_eq!(translate(Path::new("/m"), Ok(&lost)), [Signal::Folder]);
        let failed = notify::Error::generic("x");
        assert_eq!(translate(Path::new("/m"), Err(&failed)), [Signal::Folder]);
    }
}
