//! Follows one kind: lists it, watches it, and begins again where it was after every failure.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use futures_util::TryStreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::{
    Client,
    api::{ListParams, WatchParams},
    core::{Request, WatchEvent},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{
    access::{Access, AccessError},
    backoff::Backoff,
    decode::{Decoded, decode, identify},
    kinds::Watched,
    trouble::{Remedy, Trouble},
};
use crate::source::{
    Heard,
    object::{Key, Kind},
};

/// Objects a page: few enough that a page of slices of a hundred endpoints is a few megabytes.
const PAGE: u32 = 200;
/// The first release that refuses a streaming list where it can't serve it. Older ones ignore the
/// wish and never say that the list is complete.
const STREAMING: u32 = 27;
/// A streaming list that pauses for so long is not coming.
const PATIENCE: Duration = Duration::from_secs(30);
/// A watch that ends sooner and told nothing was not worth asking for.
const WORTHWHILE: Duration = Duration::from_secs(1);

/// What a feed tells.
#[derive(Debug)]
pub enum Told {
    /// A list begins: what it does not name is gone.
    Begins(Kind),
    /// An object that is listed or has changed.
    Is(Box<Decoded>),
    /// An object is gone.
    Gone(Key),
    /// All of the list has been told.
    Complete(Kind),
    /// The API server answers; none: what is in the way.
    Trouble(Kind, Option<String>),
    /// An object that nobody can name.
    Nameless(Kind, String),
}

/// Nobody listens any more.
struct Stopped;

/// Why a request came to an end.
enum End {
    Stopped,
    Trouble(Trouble),
}

impl From<Stopped> for End {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

#[derive(Deserialize)]
struct Page {
    metadata: ListMeta,
    items: Option<Vec<Box<RawValue>>>,
}

/// A kind that is followed.
pub struct Feed {
    watched: Watched,
    access: Access,
    sender: mpsc::Sender<Told>,
    heard: Heard,
    /// The version that the next watch goes on from; none where everything must be listed.
    version: Option<String>,
    /// The newest version ever seen: no list may be older.
    newest: Option<String>,
    /// Whether the server has streaming lists, once it is known.
    streaming: Option<bool>,
    troubled: bool,
    backoff: Backoff,
}

impl Feed {
    /// A feed that knows nothing yet.
    pub fn new(watched: Watched, access: Access, sender: mpsc::Sender<Told>, heard: Heard) -> Self {
        let backoff = Backoff::default();
        let (version, newest, streaming) = (None, None, None);
        Self {
            watched,
            access,
            sender,
            heard,
            version,
            newest,
            streaming,
            troubled: false,
            backoff,
        }
    }

    /// Follows until nobody listens.
    pub async fn run(mut self) {
        let mut client = None;
        loop {
            match self.ask(&mut client).await {
                Ok(()) => {}
                Err(End::Stopped) => return,
                Err(End::Trouble(trouble)) => {
                    if self.recover(trouble, &mut client).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Lists or watches once.
    async fn ask(&mut self, client: &mut Option<Client>) -> Result<(), End> {
        let client = match client {
            Some(client) => client.clone(),
            None => {
                let made = self.access.client().await;
                let fault = |error: AccessError| {
                    let message = Some(error.to_string());
                    End::Trouble(Trouble { remedy: Remedy::Renew, message })
                };
                client.insert(made.map_err(fault)?.0).clone()
            }
        };
        match self.version.clone() {
            Some(version) => self.watch(&client, &version, false).await,
            None if self.streams(&client).await? => {
                let version = self.newest.clone().unwrap_or_else(|| "0".to_owned());
                self.watch(&client, &version, true).await
            }
            None => self.list(&client).await,
        }
    }

    /// Acts on trouble, and waits before anything else is asked.
    async fn recover(
        &mut self,
        trouble: Trouble,
        client: &mut Option<Client>,
    ) -> Result<(), Stopped> {
        match trouble.remedy {
            Remedy::Resume => {}
            Remedy::Renew => *client = None,
            Remedy::StartOver => self.version = None,
            Remedy::Page => self.streaming = Some(false),
            Remedy::Forget => (self.version, self.newest) = (None, None),
        }
        if trouble.message.is_some() {
            self.troubled = true;
            self.tell(Told::Trouble(self.watched.kind, trouble.message)).await?;
        }
        let pause = self.backoff.pause(Instant::now(), rand::random());
        tokio::select! {
            () = sleep(pause) => Ok(()),
            () = self.sender.closed() => Err(Stopped),
        }
    }

    async fn tell(&self, told: Told) -> Result<(), Stopped> {
        self.sender.send(told).await.map_err(|_| Stopped)
    }

    /// The server answers again.
    async fn relieved(&mut self) -> Result<(), Stopped> {
        if self.troubled {
            self.troubled = false;
            self.tell(Told::Trouble(self.watched.kind, None)).await?;
        }
        Ok(())
    }

    async fn streams(&mut self, client: &Client) -> Result<bool, End> {
        if let Some(known) = self.streaming {
            return Ok(known);
        }
        let streaming = match client.apiserver_version().await {
            Ok(version) => {
                let minor = version.minor.trim_end_matches(|c: char| !c.is_ascii_digit());
                minor.parse().is_ok_and(|minor: u32| minor >= STREAMING)
            }
            // Whoever may not ask for the version may still ask for objects.
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => false,
            Err(error) => return Err(End::Trouble(Trouble::of(&error, false))),
        };
        Ok(*self.streaming.insert(streaming))
    }

    /// All pages of a list.
    async fn list(&mut self, client: &Client) -> Result<(), End> {
        let mut params = ListParams {
            label_selector: self.watched.labels.clone(),
            field_selector: self.watched.fields.clone(),
            limit: Some(PAGE),
            ..ListParams::default()
        };
        let mut begun = false;
        loop {
            let page = async {
                let request = Request::new(self.watched.path).list(&params);
                client.request::<Page>(request.map_err(kube::Error::BuildRequest)?).await
            };
            let page = page.await.map_err(|error| End::Trouble(Trouble::of(&error, false)))?;
            self.heard.now();
            if !begun {
                begun = true;
                self.relieved().await?;
                self.tell(Told::Begins(self.watched.kind)).await?;
            }
            for item in page.items.into_iter().flatten() {
                self.object(item.get()).await?;
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => {
                    self.version = page.metadata.resource_version.filter(|v| !v.is_empty());
                    self.newest.clone_from(&self.version);
                    self.tell(Told::Complete(self.watched.kind)).await?;
                    return Ok(());
                }
            }
        }
    }

    /// A watch until its end, with a list at its beginning where `initial`.
    async fn watch(
        &mut self,
        client: &Client,
        version: &str,
        mut initial: bool,
    ) -> Result<(), End> {
        let streaming = initial;
        let trouble = |error: kube::Error| End::Trouble(Trouble::of(&error, streaming));
        let params = WatchParams {
            label_selector: self.watched.labels.clone(),
            field_selector: self.watched.fields.clone(),
            bookmarks: true,
            send_initial_events: initial,
            ..WatchParams::default()
        };
        let request = Request::new(self.watched.path).watch(&params, version);
        let request = request.map_err(kube::Error::BuildRequest).map_err(trouble)?;
        let asked = Instant::now();
        let stream = client.request_events::<Box<RawValue>>(request).await.map_err(trouble)?;
        let mut stream = pin!(stream);
        let mut told = false;
        self.relieved().await?;
        if initial {
            self.tell(Told::Begins(self.watched.kind)).await?;
        }
        loop {
            let event = if initial {
                // A server that does not know the parameter never ends the list.
                let page = Trouble { remedy: Remedy::Page, message: None };
                timeout(PATIENCE, stream.try_next()).await.map_err(|_| End::Trouble(page))?
            } else {
                stream.try_next().await
            };
            let Some(event) = event.map_err(trouble)? else { break };
            told = true;
            self.heard.now();
            if !initial {
                self.backoff.reset();
            }
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    let version = self.object(object.get()).await?;
                    self.passed(version, initial);
                }
                WatchEvent::Deleted(object) => {
                    let version = self.gone(object.get()).await?;
                    self.passed(version, initial);
                }
                WatchEvent::Bookmark(bookmark) => {
                    let metadata = bookmark.metadata;
                    if initial && metadata.annotations.contains_key("k8s.io/initial-events-end") {
                        initial = false;
                        self.tell(Told::Complete(self.watched.kind)).await?;
                    }
                    self.passed(metadata.resource_version, initial);
                }
                WatchEvent::Error(status) => {
                    return Err(End::Trouble(Trouble::of_status(&status, streaming)));
                }
            }
        }
        if told || asked.elapsed() > WORTHWHILE {
            return Ok(());
        }
        let message = "it ends watches as soon as they begin; it is asked again".to_owned();
        Err(End::Trouble(Trouble { remedy: Remedy::Resume, message: Some(message) }))
    }

    /// Everything up to this version has been told; not so while a list is told in any order.
    fn passed(&mut self, version: String, initial: bool) {
        if !initial && !version.is_empty() {
            self.newest = Some(version.clone());
            self.version = Some(version);
        }
    }

    /// Tells an object and returns its version.
    async fn object(&mut self, text: &str) -> Result<String, Stopped> {
        match decode(self.watched.kind, text) {
            Ok(mut decoded) => {
                let version = std::mem::take(&mut decoded.version);
                self.tell(Told::Is(Box::new(decoded))).await?;
                Ok(version)
            }
            Err(error) => {
                self.tell(Told::Nameless(self.watched.kind, error.to_string())).await?;
                Ok(String::new())
            }
        }
    }

    async fn gone(&mut self, text: &str) -> Result<String, Stopped> {
        match identify(self.watched.kind, text) {
            Ok((key, version)) => {
                self.tell(Told::Gone(key)).await?;
                Ok(version)
            }
            Err(error) => {
                self.tell(Told::Nameless(self.watched.kind, error.to_string())).await?;
                Ok(String::new())
            }
        }
    }
}
