//! The health check node ports of Services, as kube-proxy answers there: load balancers ask which
//! nodes have endpoints of a Service whose external traffic stays on the node that it came to.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode},
    response::IntoResponse,
};
use serde::Serialize;
use tokio::{
    net::TcpListener,
    sync::watch::{self, Receiver},
    task::{Id, JoinSet},
};

use super::{Health, probes::NO_SNIFFING};
use crate::{desired::health_checks::HealthChecks, http, tasks};

/// Cloud providers weigh nodes by it.
const WEIGHT: HeaderName = HeaderName::from_static("x-load-balancing-endpoint-weight");
/// How long after a port could not be had it is tried again: load balancers ask every few seconds, and whoever
/// held it may be gone.
const RETRY: Duration = Duration::from_secs(1);
/// For each so many ports another second passes, so that trying takes no time to speak of.
const AT_ONCE: usize = 100;
/// How long after a server has died another one takes its place.
const RESTART: Duration = Duration::from_secs(1);

/// Answers at the ports of the Services that [`Health`] knows, until `shutdown` turns true.
///
/// A port that somebody else holds, such as a kube-proxy beside the agent, is left to them and
/// tried again each second. A server that dies is told and started again.
pub async fn serve(health: Arc<Health>, mut shutdown: Receiver<bool>) {
    let mut checks = health.checks.subscribe();
    let mut ports = Ports::new(Arc::clone(&health));
    loop {
        let wanted = addresses(&checks.borrow_and_update());
        ports.listen(&wanted);
        let refused = ports.refused.len();
        let pause = (refused > 0).then(|| RETRY * refused.div_ceil(AT_ONCE) as u32);
        let retry = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        let died = async {
            ports.died().await;
            tokio::time::sleep(RESTART).await;
        };
        tokio::select! {
            changed = checks.changed() => if changed.is_err() { break },
            () = retry => {}
            () = died => {}
            _ = shutdown.wait_for(|stop| *stop) => break,
        }
    }
    ports.close().await;
}

fn addresses(checks: &HealthChecks) -> BTreeSet<SocketAddr> {
    let of_port = |port: &u16| {
        let port = *port;
        checks.addresses.iter().map(move |address| SocketAddr::new(*address, port))
    };
    checks.by_port.keys().flat_map(of_port).collect()
}

/// A port that is open. Dropping it closes the port.
struct Open {
    server: Id,
    _stop: watch::Sender<bool>,
}

/// The ports that are open.
pub(super) struct Ports {
    health: Arc<Health>,
    open: BTreeMap<SocketAddr, Open>,
    servers: JoinSet<()>,
    /// Those that could not be had, so that each is told once.
    refused: BTreeSet<SocketAddr>,
}

impl Ports {
    pub(super) fn new(health: Arc<Health>) -> Self {
        let (open, refused) = (BTreeMap::new(), BTreeSet::new());
        Self { health, open, servers: JoinSet::new(), refused }
    }

    pub(super) fn listen(&mut self, wanted: &BTreeSet<SocketAddr>) {
        self.open.retain(|address, _| wanted.contains(address));
        self.refused.retain(|address| wanted.contains(address));
        for address in wanted {
            if self.open.contains_key(address) {
                continue;
            }
            match bind(*address) {
                Ok(listener) => {
                    tracing::info!(%address, "answering load balancers");
                    self.refused.remove(address);
                    self.open(*address, listener);
                }
                Err(error) => {
                    if self.refused.insert(*address) {
                        tracing::warn!(
                            %address,
                            "this health check node port can't be had, and is left to whoever \
                             holds it, such as kube-proxy: {error}; --healthcheck-nodeports=false \
                             leaves all of them"
                        );
                    }
                }
            }
        }
    }

    fn open(&mut self, address: SocketAddr, listener: TcpListener) {
        let (stop, stopped) = watch::channel(false);
        let asked = Asked { health: Arc::clone(&self.health), port: address.port() };
        let router = Router::new().fallback(answer).with_state(asked);
        let server =
            self.servers.spawn(async move { http::serve(&listener, router, stopped).await });
        self.open.insert(address, Open { server: server.id(), _stop: stop });
    }

    /// Waits until a server has ended that was not told to, and says so. Its port is not open any
    /// more. Cancel-safe.
    pub(super) async fn died(&mut self) {
        loop {
            let (id, how) = match self.servers.join_next_with_id().await {
                None => std::future::pending().await,
                Some(Ok((id, ()))) => (id, "by itself".to_owned()),
                Some(Err(error)) => (error.id(), tasks::how(error)),
            };
            let Some(address) =
                self.open.iter().find(|(_, open)| open.server == id).map(|(address, _)| *address)
            else {
                // It was told to end.
                continue;
            };
            self.open.remove(&address);
            tracing::error!(
                %address,
                "the server of this health check node port ended {how}; it is started again"
            );
            return;
        }
    }

    /// Ends every server at once, as a defect would.
    #[cfg(test)]
    pub(super) fn kill(&mut self) {
        self.servers.abort_all();
    }

    async fn close(mut self) {
        self.open.clear();
        while self.servers.join_next().await.is_some() {}
    }
}

/// Binds to an address; to all of IPv4 where all of both families are meant and there is no IPv6.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    match http::listen(address) {
        Err(error) if address.ip().is_unspecified() && lacks_ipv6(&error) => {
            http::listen((IpAddr::from(Ipv4Addr::UNSPECIFIED), address.port()).into())
        }
        bound => bound,
    }
}

fn lacks_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

#[derive(Clone)]
struct Asked {
    health: Arc<Health>,
    port: u16,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    service: Name<'a>,
    local_endpoints: usize,
    service_proxy_healthy: bool,
}

#[derive(Serialize)]
struct Name<'a> {
    namespace: &'a str,
    name: &'a str,
}

/// The same on every path, as with kube-proxy. Not by the eligibility of the node, which
/// `/healthz` is for: endpoints here may still be the only ones.
async fn answer(State(Asked { health, port }): State<Asked>) -> impl IntoResponse {
    let checks = Arc::clone(&health.checks.borrow());
    // The Service may have gone while its port is being closed.
    let Some(check) = checks.by_port.get(&port) else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let service_proxy_healthy = health.report().keeps_up;
    let well = check.local_endpoints > 0 && service_proxy_healthy;
    let code = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = Answer {
        service: Name { namespace: &check.service.namespace, name: &check.service.name },
        local_endpoints: check.local_endpoints,
        service_proxy_healthy,
    };
    let weight = HeaderValue::from(check.local_endpoints);
    (code, [NO_SNIFFING], [(WEIGHT, weight)], Json(body)).into_response()
}
