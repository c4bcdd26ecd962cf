//! What goes into the archive: what the agent answers, else what its maps hold, and what the kernel tells.

use std::{fmt::Display, path::PathBuf};

use serde::Serialize;
use serde_json::json;

use super::{Archive, Progress};
use crate::{
    api::{Client, ClientError},
    cli::{exit::Failure, inspect::Place},
    doctor::{facts::Facts, judge},
    kernel::inventory,
    maps::pins::Pins,
    node::kernel,
    observe::{ObserveError, Offline},
    render::{self, Output},
    view::{
        AboutQuestion, AboutView, ClientsQuestion, DrainsQuestion, EventsQuestion, ExplainQuestion,
        ExplainView, MetricsQuestion, PeerView, PeersQuestion, Question, ServiceView,
        ServicesQuestion, StatusQuestion, StatusView, Wanted,
    },
};

/// Connections that are listed at most.
const CONNECTIONS: u64 = 10_000;
/// Service ports of which it is told what a connect would get, those that are refused first.
const EXPLAINED: usize = 100;

/// Where what is known of a node comes from.
pub(super) struct Gather<'a> {
    place: &'a Place,
    cgroup: Option<PathBuf>,
    progress: &'a Progress,
    client: Client,
    /// Why the agent is asked no more.
    away: Option<String>,
    maps: Result<Offline, ObserveError>,
    lacking: Vec<String>,
    status: Option<StatusView>,
}

impl<'a> Gather<'a> {
    /// Asks for the status alone.
    pub(super) fn new(place: &'a Place, cgroup: Option<PathBuf>, progress: &'a Progress) -> Self {
        let maps = Offline::open(place.bpffs());
        let client = Client::new(place.socket());
        let (away, lacking) = (None, Vec::new());
        let mut gather =
            Self { place, cgroup, progress, client, away, maps, lacking, status: None };
        gather.status = gather.ask("status", &StatusQuestion {}, Some(Offline::status));
        gather
    }

    /// The name of the node: that of the agent, else of the host.
    pub(super) fn node(&self) -> String {
        let agent = self.status.as_ref().and_then(|status| status.agent.as_ref());
        agent.map_or_else(kernel::hostname, |agent| agent.node.clone())
    }

    /// Adds everything that can be had; what can't, in words.
    pub(super) fn all(mut self, archive: &mut Archive) -> Result<Vec<String>, Failure> {
        let node = self.node();
        let status = self.status.take();
        let agent = status.as_ref().and_then(|status| status.agent.as_ref());
        let version = json!({
            "command_line": env!("CARGO_PKG_VERSION"),
            "agent": agent.map(|agent| &agent.version),
            "node": node,
        });
        add(archive, "version.json", Some(&version))?;
        add(archive, "status.json", status.as_ref())?;
        if let Some(status) = &status {
            let text = render::text(Output::Wide, status, render::status)?;
            archive.add("status.txt", text.as_bytes())?;
        }
        let services = self.ask("services", &ServicesQuestion {}, Some(Offline::services));
        add(archive, "services.json", services.as_ref())?;
        let wanted = Wanted { limit: Some(CONNECTIONS), ..Wanted::default() };
        let connections =
            self.ask("connections", &wanted, Some(|maps: &Offline| maps.connections(&wanted)));
        add(archive, "connections.json", connections.as_ref())?;
        let all = ClientsQuestion::default();
        let clients = self.ask("clients", &all, Some(|maps: &Offline| maps.clients(&all)));
        add(archive, "clients.json", clients.as_ref())?;
        let why = self.explained(status.as_ref(), services.as_deref().unwrap_or_default());
        add(archive, "why.json", Some(&why))?;
        let events = self.ask_agent("events", &EventsQuestion::default());
        add(archive, "events.json", events.as_ref())?;
        let peers = self.ask_agent("peers", &PeersQuestion {});
        add(archive, "peers.json", peers.as_ref())?;
        let drains = self.ask_agent("drains", &DrainsQuestion {});
        add(archive, "drains.json", drains.as_ref())?;
        let about = self.ask_agent("configuration and log", &AboutQuestion {});
        if let Some(AboutView { configuration, log }) = about {
            add(archive, "configuration.json", Some(&configuration))?;
            archive.add("log.txt", (log.join("\n") + "\n").as_bytes())?;
        }
        if let Some(text) = self.ask_agent("metrics", &MetricsQuestion {}) {
            archive.add("metrics.txt", text.as_bytes())?;
        }
        self.kernel(archive, status, peers)?;
        if !self.lacking.is_empty() {
            archive.add("lacking.txt", (self.lacking.join("\n") + "\n").as_bytes())?;
        }
        Ok(self.lacking)
    }

    /// What needs no agent: programs, maps, the kernel, what doctor finds.
    fn kernel(
        &self,
        archive: &mut Archive,
        status: Option<StatusView>,
        peers: Option<Vec<PeerView>>,
    ) -> Result<(), Failure> {
        self.progress.says("programs and maps");
        let pins = Pins::new(self.place.bpffs());
        add(archive, "kernel.json", Some(&kernel::uname()))?;
        add(archive, "maps.json", Some(&inventory::maps(&pins)))?;
        let programs = inventory::programs(&pins);
        add(archive, "programs.json", Some(&programs))?;
        self.progress.says("what doctor finds");
        let own: Vec<u32> = programs.iter().map(|program| program.id).collect();
        let peers = status.and_then(|status| status.counts).zip(peers);
        let facts = Facts::gather(self.cgroup.as_deref(), self.place.bpffs(), &own, peers);
        archive.add("facts.txt", format!("{facts:#?}\n").as_bytes())?;
        let findings = judge::examine(&facts);
        add(archive, "doctor.json", Some(&findings))?;
        archive.add("doctor.txt", render::doctor(&findings).as_bytes())?;
        Ok(())
    }

    /// What a connect would get to one address of each Service port, those that are refused first.
    fn explained(
        &mut self,
        status: Option<&StatusView>,
        services: &[ServiceView],
    ) -> Vec<ExplainView> {
        let refused = |service: &ServiceView| {
            status.is_some_and(|status| {
                status.refused.iter().any(|refused| {
                    (&refused.namespace, &refused.service, &refused.service_port)
                        == (&service.namespace, &service.name, &service.port)
                })
            })
        };
        let mut services: Vec<_> = services.iter().collect();
        services.sort_by_key(|service| !refused(service));
        let dialled = services.iter().filter_map(|service| service.frontends.first());
        let questions: Vec<_> = dialled
            .take(EXPLAINED)
            .map(|frontend| ExplainQuestion {
                address: frontend.address,
                port: frontend.port,
                protocol: frontend.protocol,
                pod_namespace: None,
                pod: None,
            })
            .collect();
        let mut views = Vec::new();
        for question in &questions {
            let what = format!("why {}:{} is chosen", question.address, question.port);
            views.extend(self.ask(&what, question, Some(|maps: &Offline| maps.explain(question))));
        }
        views
    }

    /// Asks the agent for what it alone knows.
    fn ask_agent<Q: Question>(&mut self, what: &str, question: &Q) -> Option<Q::Answer> {
        type Maps<A> = fn(&Offline) -> Result<A, ObserveError>;
        self.ask(what, question, None::<Maps<Q::Answer>>)
    }

    /// Asks the agent, else its maps where these can tell. What nobody tells is noted.
    fn ask<Q: Question>(
        &mut self,
        what: &str,
        question: &Q,
        maps: Option<impl FnOnce(&Offline) -> Result<Q::Answer, ObserveError>>,
    ) -> Option<Q::Answer> {
        self.progress.says(what);
        if self.away.is_none() {
            match self.told(question) {
                Ok(answer) => return Some(answer),
                Err(away @ (ClientError::Unreachable { .. } | ClientError::Slow { .. })) => {
                    self.away = Some(away.to_string());
                    self.lacking.push(format!("{away}: what its maps hold is told in its place"));
                }
                Err(error) => {
                    self.lack(what, &error);
                    return None;
                }
            }
        }
        let Some(maps) = maps else {
            self.lack(what, &"only an agent knows it");
            return None;
        };
        match self.maps.as_ref().map(maps) {
            Ok(Ok(view)) => Some(view),
            Ok(Err(error)) => {
                self.lack(what, &error);
                None
            }
            Err(error) => {
                let error = error.to_string();
                self.lack(what, &error);
                None
            }
        }
    }

    fn told<Q: Question>(&self, question: &Q) -> Result<Q::Answer, ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|source| ClientError::Unreachable {
            socket: self.place.socket().to_owned(),
            source,
        })?;
        runtime.block_on(self.client.ask(question))
    }

    fn lack(&mut self, what: &str, why: &impl Display) {
        self.lacking.push(format!("{what}: {why}"));
    }
}

fn add<T: Serialize + ?Sized>(
    archive: &mut Archive,
    name: &str,
    view: Option<&T>,
) -> Result<(), Failure> {
    if let Some(view) = view {
        let text = serde_json::to_string_pretty(view)? + "\n";
        archive.add(name, text.as_bytes())?;
    }
    Ok(())
}
