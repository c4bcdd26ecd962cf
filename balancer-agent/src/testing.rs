//! What several tests share: views, and a client.

pub(crate) mod services;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tracing::{Dispatch, subscriber::NoSubscriber};

use crate::{
    answer::AnswerError,
    api::Answers,
    config::BackendSeries,
    maps::MapsError,
    metrics::{KubeProxy, Mended, Programming, Scrape, Total},
    model::{ObjectRef, Problem, Protocol},
    moves::tally::Counts,
    view::{
        ActivityView, AgentView, BackendState, BackendView, BalancingState, BalancingView,
        CapacityView, ConnectionView, CountsView, EndView, EventKind, EventView, FrontendView,
        OutsideView, PeerView, PeersQuestion, PodState, PodView, PortView, ProgramView,
        RebalanceRequest, RecentView, RefusedView, ServiceView, ServicesQuestion, StatusQuestion,
        StatusView, TotalView, VerdictView, Wanted,
    },
};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is logged meanwhile, without times.
pub(crate) fn logged(work: impl FnOnce()) -> String {
    // Beside a single one, tracing asks the thread that comes first to a line whether it is logged. That
    // may be a thread that logs nothing, and the answer would hold for all.
    static SECOND: OnceLock<Dispatch> = OnceLock::new();
    SECOND.get_or_init(|| Dispatch::new(NoSubscriber::default()));
    let log = Log::default();
    let sink = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || sink.clone())
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .finish();
    tracing::subscriber::with_default(subscriber, work);
    let bytes = log.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    String::from_utf8(bytes).expect("UTF-8")
}

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) code: u16,
    /// Its status line and headers, with names in lower case.
    pub(crate) head: String,
    /// What it says.
    pub(crate) body: String,
}

/// Asks a server over a connection of its own.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a code");
    Answer { code, head: head.to_lowercase(), body: body.to_owned() }
}

/// An agent that shows [`status`], [`services`], [`connections`] and [`peers`].
pub(crate) fn answers() -> Answers<()> {
    Answers::of(Arc::new(()))
        .with(|(), _: &StatusQuestion| Ok(status()))
        .with(|(), _: &ServicesQuestion| Ok(services()))
        .with(|(), wanted: &Wanted| {
            let of = |view: &ConnectionView| {
                wanted.service.as_ref().is_none_or(|service| *service == view.service)
            };
            Ok(connections().into_iter().filter(of).collect())
        })
        .with(|(), request: &RebalanceRequest| Err(not_balanced(request)))
        .with(|(), _: &PeersQuestion| Ok(peers()))
}

/// An agent whose maps can't be read.
pub(crate) fn blind() -> Answers<()> {
    Answers::of(Arc::new(()))
        .with(|(), _: &StatusQuestion| Ok(StatusView { connections: None, ..status() }))
        .with(|(), _: &ServicesQuestion| Err(unreadable()))
        .with(|(), _: &Wanted| Err(unreadable()))
        .with(|(), _: &RebalanceRequest| Err(unreadable()))
}

/// What is said of a Service that nobody knows.
pub(crate) fn not_balanced(request: &RebalanceRequest) -> AnswerError {
    let (namespace, name) = (request.namespace.clone(), request.service.clone());
    AnswerError::NotBalanced { service: ObjectRef { namespace, name } }
}

/// Why nothing can be told of the maps.
pub(crate) fn unreadable() -> AnswerError {
    let source = io::Error::from_raw_os_error(libc::EPERM);
    MapsError::Call { map: "NAMES", operation: "read", source }.into()
}

fn program(name: &str, id: Option<u32>, tag: Option<&str>) -> ProgramView {
    ProgramView { name: name.into(), id, tag: tag.map(Into::into), unreadable: None }
}

/// What metrics show.
pub(crate) fn scrape() -> Scrape {
    Scrape {
        status: status(),
        services: services(),
        totals: vec![Total { opened: 90, failed: 2 }; 3],
        series: BackendSeries::All,
        programs: Vec::new(),
        // 1, 2, 3 and so on by bucket, and two hours in sum.
        lifetimes: [1, 2, 3, 4, 5, 6, 7, 7_200_000],
        ended: Counts::new(),
        programming: Programming::default(),
        kube_proxy: KubeProxy::default(),
        mended: Mended::default(),
        source_silent: Some(Duration::from_millis(1_500)),
        requests: None,
    }
}

/// A running agent.
pub(crate) fn status() -> StatusView {
    StatusView {
        agent: Some(AgentView {
            version: "0.1.0".into(),
            pid: 4321,
            node: "worker-1".into(),
            uptime_s: 3725,
            source: "folder /etc/balancer".into(),
            ready: true,
            waiting_for: Vec::new(),
        }),
        cgroup: Some("/sys/fs/cgroup".into()),
        bpffs: "/sys/fs/bpf/balancer".into(),
        balancing: Some(BalancingView {
            state: BalancingState::Works,
            detail: "seen by a connection of the agent's own".into(),
            tests_total: 900,
            mended_total: 2,
        }),
        programs: vec![program("connect4", Some(71), Some("a1b2")), program("sockops", None, None)],
        capacity: vec![
            CapacityView { name: "services".into(), used: 2, max: 131_072 },
            CapacityView { name: "backends".into(), used: 250_000, max: 262_144 },
        ],
        connections: Some(9),
        outside: vec!["eth0".into()],
        counts: Some(CountsView {
            nodes: 7,
            members: 7,
            age_ms: Some(240),
            sent_total: 70,
            sent_bytes_total: 7_000,
            received_total: 60,
            received_bytes_total: 6_000,
            rejected: vec![TotalView { name: "forged".into(), total: 3 }],
            ..CountsView::default()
        }),
        verdicts: vec![VerdictView { name: "balanced".into(), total: 12_345 }],
        pods: vec![PodView {
            namespace: "shop".into(),
            name: "cart-0".into(),
            state: PodState::Sandboxed,
            runtime_class: Some("kata".into()),
        }],
        refused: vec![RefusedView {
            namespace: "shop".into(),
            service: "stock".into(),
            service_port: PortView { name: String::new(), number: 80, protocol: Protocol::Tcp },
            error: "ECONNREFUSED".into(),
            not_ready: 2,
        }],
        problems: vec![Problem {
            object: "shop.yaml, document 2".into(),
            field: "spec.ports[0].port".into(),
            message: "70000 is no port".into(),
        }],
        events: Some(RecentView {
            count: 3,
            last: EventView {
                time: "2026-03-01T12:00:00.000Z".into(),
                age_ms: 5_000,
                kind: EventKind::Endpoints,
                object: "Service shop/stock".into(),
                service: None,
                message: "port 80/TCP: not ready 10.0.0.1:80".into(),
            },
        }),
    }
}

/// Two Service ports of one Service, and another Service.
pub(crate) fn services() -> Vec<ServiceView> {
    vec![
        service("shop", "cart", ("http", 80), &[(1, 5), (2, 4)]),
        service("shop", "cart", ("admin", 9000), &[(1, 0)]),
        service("default", "search", ("", 443), &[]),
    ]
}

fn service(namespace: &str, name: &str, port: (&str, u16), backends: &[(u8, u32)]) -> ServiceView {
    let backend = |&(host, active): &(u8, u32)| BackendView {
        address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, host)),
        port: 8080,
        node: Some(format!("worker-{host}")),
        zone: None,
        state: if active == 4 { BackendState::Terminating } else { BackendState::Ready },
        weight: u16::from(host),
        active,
        cluster_active: None,
        opened_total: u64::from(active) * 10,
        failed_total: 1,
        suspected_total: 0,
        drained_by: None,
    };
    ServiceView {
        namespace: namespace.into(),
        name: name.into(),
        port: PortView { name: port.0.into(), number: port.1, protocol: Protocol::Tcp },
        policy: "least-connections".into(),
        affinity_s: (name == "cart").then_some(10_800),
        slow_start_s: None,
        source_ranges: Vec::new(),
        frontends: vec![FrontendView {
            r#type: "ClusterIP".into(),
            address: IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10)),
            port: port.1,
            protocol: Protocol::Tcp,
        }],
        backends: backends.iter().map(backend).collect(),
        moved_total: Some(2),
    }
}

/// A peer that is heard, one that is not, and the agent itself.
pub(crate) fn peers() -> Vec<PeerView> {
    let peer = |node: &str, last, heard_ms| PeerView {
        node: node.into(),
        address: Ipv4Addr::new(192, 0, 2, last).into(),
        port: 10_357,
        this_node: node == "worker-1",
        heard_ms,
        sent_total: 120,
        received_total: 118,
        rejected_total: 0,
        steward_of: Some(3),
        reported: Some(12),
        version: None,
    };
    let other = PeerView { rejected_total: 9, version: Some(2), ..peer("worker-3", 3, None) };
    vec![peer("worker-1", 1, None), peer("worker-2", 2, Some(240)), other]
}

/// A connection of each of three Services, the last one from outside.
pub(crate) fn connections() -> Vec<ConnectionView> {
    let end = |host, port| EndView { address: Ipv4Addr::new(10, 0, 0, host).into(), port };
    let activity = ActivityView {
        state: "established".into(),
        idle_ms: 1_500,
        busy: false,
        bytes_sent: 2_048,
        bytes_received: 3 << 20,
    };
    let connection = |service: &str, activity| ConnectionView {
        namespace: "shop".into(),
        service: service.into(),
        service_port: PortView { name: String::new(), number: 80, protocol: Protocol::Tcp },
        backend: end(1, 8080),
        client: end(9, 40_000),
        pod: None,
        outside: None,
        pid: Some(77),
        command: Some("curl".into()),
        age_ms: 200_000_000,
        ended_ms: None,
        activity,
    };
    let from_outside = ConnectionView {
        client: EndView { address: Ipv4Addr::new(198, 51, 100, 7).into(), port: 40_000 },
        outside: Some(OutsideView { dialled: end(1, 30_080), state: "open".into() }),
        pid: None,
        command: None,
        ..connection("web", None)
    };
    vec![connection("cart", Some(activity)), connection("search", None), from_outside]
}
