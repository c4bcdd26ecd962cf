//! What programs tell, as it is shown.
//!
//! A charge ends at the last close of its socket, before TCP does anything about that: how it has
//! ended is told by the change of state that follows. So an end waits for that for a moment, and
//! for the agent, where that may have ended the connection.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    time::{Duration, SystemTime},
};

use balancer_common::{
    charge::cookie_of,
    layout::{
        ANSWERED, CLUSTER_FRACTION, EndedBy, How, OF_ALL_NODES, PAD_BACKEND, Told, TraceEvent,
    },
    policy::Policy,
    verdict::Verdict,
};
use jiff::Timestamp;
use lru::LruCache;
use nix::errno::Errno;

use crate::{
    maps::convert::socket_addr,
    model::{ObjectRef, Protocol, Reason},
    view::{ChoiceView, DialledView, EndView, EndedView, PartiesView, PortView, TraceView},
};

/// How long an end waits for what follows.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long where the agent may have ended the connection: it says so after a pass.
const LONG_PATIENCE: Duration = Duration::from_millis(500);
/// Sockets whose process is remembered, so that their end tells it.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// States of TCP (`include/net/tcp_states.h`).
mod tcp {
    pub(super) const ESTABLISHED: u8 = 1;
    pub(super) const SYN_SENT: u8 = 2;
    pub(super) const FIN_WAIT1: u8 = 4;
    pub(super) const FIN_WAIT2: u8 = 5;
    pub(super) const TIME_WAIT: u8 = 6;
    pub(super) const CLOSE_WAIT: u8 = 8;
    pub(super) const LAST_ACK: u8 = 9;
    pub(super) const CLOSING: u8 = 11;
}

/// What the numbers of an event mean.
pub trait Known {
    /// The Service port of an identifier.
    fn service(&mut self, id: u32) -> Option<(ObjectRef, PortView)>;
    /// The address of a backend.
    fn backend(&mut self, id: u32) -> Option<SocketAddr>;
    /// The pod whose cgroup, or one below it, this is.
    fn pod_of_cgroup(&mut self, cgroup: u64) -> Option<ObjectRef>;
    /// The pod that has an address.
    fn pod_of_address(&mut self, address: IpAddr) -> Option<ObjectRef>;
    /// The name of a process that is there still.
    fn command(&mut self, pid: u32) -> Option<String>;
    /// Why the agent has ended a connection, by the word of its charge, and whether another agent
    /// has permitted that.
    fn ended(&mut self, word: u64) -> Option<(Reason, bool)>;
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// CLOCK_MONOTONIC.
    pub monotonic: Duration,
    /// The time of day.
    pub wall: SystemTime,
}

impl Now {
    fn at(self, nanos: u64) -> String {
        let ago = self.monotonic.saturating_sub(Duration::from_nanos(nanos));
        let time = self.wall.checked_sub(ago).unwrap_or(self.wall);
        let time = Timestamp::try_from(time).unwrap_or_default();
        format!("{time:.6}")
    }
}

/// Turns events into what is shown.
pub struct Teller {
    /// By the cookies of their sockets. The one whose last choice is the oldest is forgotten first.
    clients: LruCache<u64, Client>,
    ends: Vec<Waiting>,
}

impl Default for Teller {
    fn default() -> Self {
        Self { clients: LruCache::new(REMEMBERED), ends: Vec::new() }
    }
}

/// Whose a socket is.
#[derive(Clone, Debug)]
struct Client {
    pod: Option<ObjectRef>,
    pid: u32,
    command: String,
}

/// An end that waits for what follows.
struct Waiting {
    event: TraceEvent,
    followed: bool,
    view: EndedView,
    until: Duration,
}

impl Waiting {
    /// What is shown of it, once all is known of it or it has waited long enough.
    fn shown(&self, now: Now, known: &mut impl Known) -> Option<TraceView> {
        let by_agent = known.ended(self.event.word);
        let certain = by_agent.is_some() || !may_be_agent(&self.event);
        if now.monotonic < self.until && !(self.followed && certain) {
            return None;
        }
        let mut view = self.view.clone();
        tell(&mut view, &self.event, self.followed, by_agent);
        Some(TraceView::Ended(view))
    }
}

impl Teller {
    /// Takes an event; gives what is to be shown of it by now. Ends that wait are not looked at:
    /// that is for [`Self::due`].
    pub fn take(
        &mut self,
        event: &TraceEvent,
        now: Now,
        known: &mut impl Known,
    ) -> Option<TraceView> {
        match Told::from_raw(event.kind)? {
            Told::Choice | Told::Refusal | Told::NoService => {
                Some(TraceView::Dialled(self.dialled(event, now, known)))
            }
            Told::End => {
                let view = self.ended(event, now, known);
                let patience = if may_be_agent(event) { LONG_PATIENCE } else { PATIENCE };
                let until = now.monotonic + patience;
                let followed = EndedBy::from_raw(event.how) != Some(EndedBy::Release)
                    || view.parties.protocol != Some(Protocol::Tcp);
                let end = Waiting { event: *event, followed, view, until };
                let shown = end.shown(now, known);
                if shown.is_none() {
                    self.ends.push(end);
                }
                shown
            }
            Told::State => {
                let waits = |end: &Waiting| !end.followed && end.event.cookie == event.cookie;
                // It follows its end at once, which is among the last ones.
                let index = self.ends.iter().rposition(waits)?;
                let end = self.ends.get_mut(index)?;
                end.followed = true;
                (end.event.from_state, end.event.to_state) = (event.from_state, event.to_state);
                (end.event.acked, end.event.received) = (event.acked, event.received);
                if may_be_agent(&end.event) {
                    end.until = now.monotonic + LONG_PATIENCE;
                }
                let shown = end.shown(now, known)?;
                self.ends.remove(index);
                Some(shown)
            }
        }
    }

    /// True while an end waits.
    pub const fn waits(&self) -> bool {
        !self.ends.is_empty()
    }

    /// The ends of which all is known, or that have waited long enough.
    pub fn due(&mut self, now: Now, known: &mut impl Known) -> Vec<TraceView> {
        let mut views = Vec::new();
        self.ends.retain(|end| {
            let shown = end.shown(now, known);
            let waits = shown.is_none();
            views.extend(shown);
            waits
        });
        views
    }

    fn dialled(&mut self, event: &TraceEvent, now: Now, known: &mut impl Known) -> DialledView {
        let pod = known.pod_of_cgroup(event.cgroup);
        let client = Client { pod, pid: event.tgid, command: text(&event.comm) };
        let verdict = Verdict::ALL.into_iter().find(|verdict| *verdict as u8 == event.verdict);
        if verdict == Some(Verdict::Balanced) {
            self.clients.put(event.cookie, client.clone());
        }
        let choice = (verdict == Some(Verdict::Balanced)).then(|| choice(event));
        DialledView {
            parties: parties(event, Some(client), now, known),
            verdict: verdict.map_or("unknown", Verdict::name).to_owned(),
            errno: verdict.and_then(Verdict::errno).map(errno),
            choice,
        }
    }

    fn ended(&mut self, event: &TraceEvent, now: Now, known: &mut impl Known) -> EndedView {
        let local = (event.local_port != 0).then(|| socket_addr(event.local, event.local_port));
        let client = self.clients.pop(&cookie_of(event.word)).or_else(|| {
            let pid = event.tgid;
            let command = known.command(pid)?;
            let pod = local.and_then(|local| known.pod_of_address(local.ip()));
            Some(Client { pod, pid, command })
        });
        let mut parties = parties(event, client, now, known);
        if parties.pod.is_none() {
            parties.pod = local.and_then(|local| known.pod_of_address(local.ip()));
        }
        EndedView {
            parties,
            reason: String::new(),
            permitted: false,
            errno: None,
            client: local.map(EndView::from),
            age_ms: (event.age != 0).then_some(event.age / 1_000_000),
            bytes_sent: None,
            bytes_received: None,
        }
    }
}

fn parties(
    event: &TraceEvent,
    client: Option<Client>,
    now: Now,
    known: &mut impl Known,
) -> PartiesView {
    let told = Told::from_raw(event.kind);
    let service = (told != Some(Told::NoService)).then(|| known.service(event.service)).flatten();
    let (service, service_port) = service.unzip();
    let (namespace, service) = service.map(|service| (service.namespace, service.name)).unzip();
    // What was chosen for a connection that is refused then is not where it leads.
    let leads = told != Some(Told::Refusal) && event.backend != PAD_BACKEND;
    let backend = leads.then(|| known.backend(event.backend)).flatten();
    let (pod, pid, command) =
        client.map_or((None, None, None), |c| (c.pod, Some(c.pid), Some(c.command)));
    PartiesView {
        time: now.at(event.at),
        pod,
        pid: pid.or((event.tgid != 0).then_some(event.tgid)),
        command,
        dialled: socket_addr(event.addr, event.port).into(),
        protocol: Protocol::from_number(event.protocol),
        namespace,
        service,
        service_port,
        backend: backend.map(EndView::from),
    }
}

fn choice(event: &TraceEvent) -> ChoiceView {
    let of_all = event.flags & OF_ALL_NODES != 0;
    let estimate = (event.active << CLUSTER_FRACTION).saturating_add(event.others);
    let counted = if of_all { estimate } else { event.active << CLUSTER_FRACTION };
    // Of a row that is too long nobody has looked at every backend.
    let scanned = event.usable > 0;
    let looked = event.len > 0;
    let policy = Policy::from_raw(event.policy).unwrap_or_default();
    let why = match How::from_raw(event.how) {
        How::Affinity => "affinity",
        How::Seat => "seat",
        How::Trial => "trial",
        How::Policy if !looked => "datagram",
        How::Policy if event.len == 1 => "only-one",
        How::Policy => match policy {
            Policy::RoundRobin | Policy::Random | Policy::PowerOfTwo => policy.name(),
            _ if !scanned => "sampled",
            Policy::WeightedLeastConnections => "weighted",
            Policy::LeastConnections if counted < event.least => "least",
            Policy::LeastConnections if counted == event.least && event.tied > 1 => "tie",
            Policy::LeastConnections if counted == event.least => "least",
            Policy::LeastConnections if of_all => "spread",
            Policy::LeastConnections => "changed",
        },
    };
    ChoiceView {
        why: why.to_owned(),
        policy: looked.then(|| policy.name().to_owned()),
        active: looked.then_some(event.active),
        cluster_active: of_all.then_some(estimate >> CLUSTER_FRACTION),
        least: scanned.then_some(event.least >> CLUSTER_FRACTION),
        tied: scanned.then_some(event.tied),
        usable: scanned.then_some(event.usable),
        backends: looked.then_some(event.len),
    }
}

/// True of a state in which the own side was shut before the socket was closed.
const fn was_shut(state: u8) -> bool {
    matches!(state, tcp::FIN_WAIT1 | tcp::FIN_WAIT2 | tcp::TIME_WAIT | tcp::CLOSING)
}

/// True where the agent may have ended the connection: it shuts its side, or has the kernel break
/// it off.
fn may_be_agent(event: &TraceEvent) -> bool {
    let broken_off =
        EndedBy::from_raw(event.how) == Some(EndedBy::Tcp) && event.from_state != tcp::SYN_SENT;
    broken_off || was_shut(event.from_state) || event.from_state == tcp::LAST_ACK
}

/// How a connection has ended.
fn tell(
    view: &mut EndedView,
    event: &TraceEvent,
    followed: bool,
    by_agent: Option<(Reason, bool)>,
) {
    let is_tcp = view.parties.protocol == Some(Protocol::Tcp);
    let by_tcp = EndedBy::from_raw(event.how) == Some(EndedBy::Tcp);
    let seconds = view.age_ms.unwrap_or_default() / 1_000;
    let reason = match (EndedBy::from_raw(event.how), event.from_state) {
        (Some(EndedBy::Reconnect), _) => "reconnected",
        _ if !is_tcp || !followed => "closed",
        (Some(EndedBy::Tcp), tcp::SYN_SENT) if event.flags & ANSWERED != 0 => "refused",
        (Some(EndedBy::Tcp), tcp::SYN_SENT) if seconds == 0 => "unreachable",
        (Some(EndedBy::Tcp), tcp::SYN_SENT) => "timed-out",
        (Some(EndedBy::Tcp), tcp::ESTABLISHED | tcp::CLOSE_WAIT) => "reset",
        (_, tcp::SYN_SENT) => "client-gave-up",
        (_, tcp::CLOSE_WAIT | tcp::LAST_ACK) => "server-closed",
        (_, tcp::ESTABLISHED) if event.to_state != tcp::FIN_WAIT1 => "client-reset",
        _ => "client-closed",
    };
    view.reason = reason.to_owned();
    view.errno = match reason {
        "refused" => Some(errno(libc::ECONNREFUSED)),
        "unreachable" => Some(errno(libc::EHOSTUNREACH)),
        "timed-out" => Some(errno(libc::ETIMEDOUT)),
        // Of a reset: ECONNRESET by the server, ETIMEDOUT by a timer, ECONNABORTED by a tool.
        _ => None,
    };
    if let Some((reason, permitted)) = by_agent {
        (view.reason, view.permitted, view.errno) = (reason.name().to_owned(), permitted, None);
    }
    if is_tcp && followed && event.from_state != 0 && event.from_state != tcp::SYN_SENT {
        // A SYN and a FIN count as a byte.
        let fin_sent = matches!(event.from_state, tcp::FIN_WAIT2 | tcp::TIME_WAIT);
        let fin_received = matches!(event.from_state, tcp::CLOSE_WAIT | tcp::LAST_ACK)
            || event.from_state == tcp::CLOSING
            || (by_tcp && event.from_state == tcp::FIN_WAIT2);
        view.bytes_sent = Some(event.acked.saturating_sub(1 + u64::from(fin_sent)));
        view.bytes_received = Some(event.received.saturating_sub(u64::from(fin_received)));
    }
}

fn errno(number: i32) -> String {
    format!("{:?}", Errno::from_raw(number))
}

/// The name of a task, without what could move a cursor.
fn text(comm: &[u8; 16]) -> String {
    let name = comm.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
mod tests;
