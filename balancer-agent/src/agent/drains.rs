//! Which backends are drained by hand: requests judged by what is desired. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use balancer_common::charge;

use crate::{
    answer::AnswerError,
    desired::{Desired, DesiredPort},
    model::{ObjectRef, Protocol, nearest},
    view::DrainRequest,
};

/// The backends that a request is about, or why it can't be granted. `drained` are those that are
/// drained already.
pub fn judge(
    request: &DrainRequest,
    desired: &Desired,
    drained: &BTreeSet<SocketAddr>,
) -> Result<BTreeSet<SocketAddr>, AnswerError> {
    let asked = |addr: &SocketAddr| {
        addr.ip() == request.address && request.port.is_none_or(|port| port == addr.port())
    };
    let backend = match request.port {
        Some(port) => SocketAddr::new(request.address, port).to_string(),
        None => request.address.to_string(),
    };
    if request.cancel {
        let found: BTreeSet<_> = drained.iter().copied().filter(asked).collect();
        return if found.is_empty() { Err(AnswerError::NotDrained { backend }) } else { Ok(found) };
    }
    let found: BTreeSet<_> = backends(desired).filter(asked).collect();
    if found.is_empty() {
        let other = "`balancer-agent backends` lists those there are";
        let hint = nearest::backend(&backend, backends(desired), other);
        return Err(AnswerError::NoBackend { backend, hint });
    }
    let gone: BTreeSet<_> = found.union(drained).copied().collect();
    let empty = left_empty(desired, &found, &gone);
    if !empty.is_empty() && !request.force {
        return Err(AnswerError::LeavesNone { services: empty.into_iter().collect() });
    }
    Ok(found)
}

/// Which of the backends that are drained on all nodes are drained here: all but those that would leave a
/// Service without any, as it was asked for on another node, which may know other backends. `here` are
/// those that are drained on this node alone. The order is that of `all`.
pub fn followed(
    all: impl IntoIterator<Item = SocketAddr>,
    desired: &Desired,
    here: &BTreeSet<SocketAddr>,
) -> BTreeSet<SocketAddr> {
    let all: Vec<_> = all.into_iter().collect();
    let asked: BTreeSet<_> = all.iter().copied().collect();
    // One walk over what is desired, and that of the few ports that are concerned is kept.
    let usable = tcp(desired).map(|(_, port)| usable(port));
    let ports: Vec<BTreeSet<SocketAddr>> = usable.filter(|its| !its.is_disjoint(&asked)).collect();
    let mut gone = here.clone();
    let mut followed = BTreeSet::new();
    for backend in all {
        let is_new = gone.insert(backend);
        if !ports.iter().any(|its| its.contains(&backend) && its.is_subset(&gone)) {
            followed.insert(backend);
        } else if is_new {
            gone.remove(&backend);
        }
    }
    followed
}

/// Services that have some of the backends, by these. All are found in one walk.
pub fn services_of(
    desired: &Desired,
    is_asked: impl Fn(&SocketAddr) -> bool,
) -> BTreeMap<SocketAddr, BTreeSet<&ObjectRef>> {
    let mut found: BTreeMap<SocketAddr, BTreeSet<&ObjectRef>> = BTreeMap::new();
    for (service, port) in tcp(desired) {
        let its = port.endpoints().map(|(backend, _)| backend.addr());
        for backend in its.filter(&is_asked) {
            found.entry(backend).or_default().insert(service);
        }
    }
    found
}

/// How many of the open connections of a backend were ended, and closed by neither side. `ended`
/// are the words of the charges of all that were; some of them may be closed.
pub fn ended(ended: impl Iterator<Item = u64>, backend: u32, open: u32) -> u32 {
    let its = ended.filter(|word| charge::backend_of(*word) == backend).count();
    open.min(u32::try_from(its).unwrap_or(u32::MAX))
}

/// Services that have one of `leaving` and nothing usable but `gone`.
fn left_empty(
    desired: &Desired,
    leaving: &BTreeSet<SocketAddr>,
    gone: &BTreeSet<SocketAddr>,
) -> BTreeSet<ObjectRef> {
    let is_left = |port: &DesiredPort| {
        let usable = usable(port);
        !usable.is_disjoint(leaving) && usable.is_subset(gone)
    };
    tcp(desired).filter(|(_, port)| is_left(port)).map(|(id, _)| id.clone()).collect()
}

fn usable(port: &DesiredPort) -> BTreeSet<SocketAddr> {
    let usable = port.endpoints().filter(|(_, details)| details.usable);
    usable.map(|(backend, _)| backend.addr()).collect()
}

fn backends(desired: &Desired) -> impl Iterator<Item = SocketAddr> {
    tcp(desired).flat_map(|(_, port)| port.endpoints().map(|(backend, _)| backend.addr()))
}

fn tcp(desired: &Desired) -> impl Iterator<Item = (&ObjectRef, &DesiredPort)> {
    let ports = desired.ports.iter().filter(|(id, _)| id.protocol == Protocol::Tcp);
    ports.map(|(id, port)| (&id.service, port))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::desired::{BackendAddr, Elsewhere, PortId, backends::Details};

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn desired(services: &[(&str, &[&str])]) -> Desired {
        let details = Details {
            place: Arc::default(),
            terminating: false,
            usable: true,
            serving: true,
            weight: 1,
        };
        let port = |(name, backends): &(&str, &[&str])| {
            let service = ObjectRef { namespace: "shop".into(), name: (*name).into() };
            let id = PortId { service, port: String::new(), protocol: Protocol::Tcp };
            let backend = |text: &&str| BackendAddr::new(addr(text), Protocol::Tcp);
            let port = DesiredPort {
                number: 80,
                frontends: Vec::new(),
                backends: backends.iter().map(|b| (backend(b), details.clone())).collect(),
                external: None,
                at_nodes: None,
                outside: None,
                local: false,
                elsewhere: Elsewhere::default(),
                options: Default::default(),
                moving: Default::default(),
                requests_only: false,
                source_ranges: Vec::new(),
            };
            (id, port)
        };
        Desired { ports: services.iter().map(port).collect(), ..Desired::default() }
    }

    fn ask(address: &str, port: Option<u16>) -> DrainRequest {
        let address = address.parse().unwrap();
        DrainRequest { address, port, timeout_s: 30, cancel: false, force: false, cluster: false }
    }

    #[test]
    fn a_backend_is_drained_on_all_its_ports_unless_one_is_named() {
        let desired = desired(&[
            ("web", &["10.0.0.1:80", "10.0.0.2:80"]),
            ("api", &["10.0.0.1:90", "10.0.0.2:90"]),
        ]);
        let none = BTreeSet::new();
        let both = judge(&ask("10.0.0.1", None), &desired, &none).unwrap();
        assert_eq!(both, [addr("10.0.0.1:80"), addr("10.0.0.1:90")].into());
        let one = judge(&ask("10.0.0.1", Some(90)), &desired, &none).unwrap();
        assert_eq!(one, [addr("10.0.0.1:90")].into());
        let services = services_of(&desired, |backend| one.contains(backend));
        let names: Vec<_> = services[&addr("10.0.0.1:90")].iter().map(|s| &s.name).collect();
        assert_eq!(names, ["api"]);
        for (address, port) in [("10.0.0.3", None), ("10.0.0.1", Some(81))] {
            let error = judge(&ask(address, port), &desired, &none).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("no Service has a TCP backend {address}")),
                "{error}"
            );
        }
    }

    #[test]
    fn the_last_backend_of_a_service_stays_unless_forced() {
        let desired = desired(&[("web", &["10.0.0.1:80", "10.0.0.2:80"])]);
        let drained = BTreeSet::from([addr("10.0.0.2:80")]);
        let request = ask("10.0.0.1", None);
        let error = judge(&request, &desired, &drained).unwrap_err().to_string();
        assert!(error.starts_with("shop/web would have no backend left"), "{error}");
        let forced = DrainRequest { force: true, ..request };
        assert!(judge(&forced, &desired, &drained).is_ok());
    }

    #[test]
    fn no_other_node_takes_the_last_backend_of_a_service() {
        let desired = desired(&[("web", &["10.0.0.1:80", "10.0.0.2:80"])]);
        let [one, two, other] = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.9:80"].map(addr);
        let follow = |here: &[SocketAddr]| {
            followed([one, two, other], &desired, &here.iter().copied().collect())
        };
        assert_eq!(follow(&[]), [one, other].into());
        assert_eq!(follow(&[one]), [one, other].into());
        assert_eq!(follow(&[two]), [two, other].into());
    }

    #[test]
    fn what_is_not_followed_counts_for_no_other_service() {
        let (first, second) = ("10.0.0.1:80", "10.0.0.2:80");
        let desired = desired(&[("alone", &[first]), ("web", &[first, second])]);
        let all = [first, second].map(addr);
        assert_eq!(followed(all, &desired, &BTreeSet::new()), [addr(second)].into());
        // What is drained on this node alone stays drained, whatever it leaves empty.
        let here = BTreeSet::from([addr(first)]);
        assert_eq!(followed(all, &desired, &here), BTreeSet::new());
    }

    #[test]
    fn only_what_is_drained_can_be_taken_back() {
        let desired = desired(&[("web", &["10.0.0.1:80"])]);
        let drained = BTreeSet::from([addr("10.0.0.9:80")]);
        let cancel = |address| DrainRequest { cancel: true, ..ask(address, None) };
        // Its Service may be gone meanwhile.
        assert_eq!(judge(&cancel("10.0.0.9"), &desired, &drained).unwrap(), drained);
        let error = judge(&cancel("10.0.0.1"), &desired, &drained).unwrap_err().to_string();
        assert!(error.starts_with("10.0.0.1 is not drained"), "{error}");
    }

    #[test]
    fn no_more_were_ended_than_are_open() {
        let words = [(7, 1), (7, 2), (8, 3)].map(|(backend, cookie)| charge::word(cookie, backend));
        for (backend, open, want) in [(7, 5, 2), (7, 1, 1), (7, 0, 0), (9, 5, 0)] {
            assert_eq!(ended(words.into_iter(), backend, open), want, "{backend} {open}");
        }
    }
}
