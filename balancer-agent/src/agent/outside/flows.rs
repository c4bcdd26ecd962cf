//! The charges of connections from outside that ended without a packet, and flows of UDP whose backend no
//! Service has any more.

use std::{collections::BTreeSet, time::Duration};

use balancer_common::layout::{OutsideFlow, OutsideKey, UDP};

use crate::{
    maps::{MapsError, OutsideCharges, ReadMaps},
    nat::{NatError, conntrack::Conntrack},
    plan::book::Book,
};

/// How old a connection is before it is asked for: connection tracking knows it by then.
const YOUNG: Duration = Duration::from_secs(10);
/// Connections that are asked for at one look, so many and what is read with them.
const ASKED: usize = 2000;

/// What goes wrong.
#[derive(Debug, thiserror::Error)]
pub enum FlowsError {
    #[error(transparent)]
    Nat(#[from] NatError),
    #[error(transparent)]
    Maps(#[from] MapsError),
}

/// What connection tracking is asked.
trait Track {
    /// True while a connection is tracked and has not ended.
    fn has(&self, key: &OutsideKey) -> Result<bool, NatError>;
    /// Has it forget a connection; one that it does not know is no error.
    fn forget(&self, key: &OutsideKey) -> Result<(), NatError>;
}

impl Track for Conntrack {
    fn has(&self, key: &OutsideKey) -> Result<bool, NatError> {
        self.has(key)
    }

    fn forget(&self, key: &OutsideKey) -> Result<(), NatError> {
        self.forget(key)
    }
}

/// Follows them.
pub struct Flows {
    /// None before it is needed, and after an error.
    conntrack: Option<Conntrack>,
    looks: Looks,
}

/// The connections of one look.
struct Read {
    /// The next ones.
    next: Vec<(OutsideKey, OutsideFlow)>,
    /// All of them, where a backend over UDP is no Service's any more that was one's at the last look.
    all: Option<Vec<(OutsideKey, OutsideFlow)>>,
}

/// What is known from one look to the next.
#[derive(Default)]
struct Looks {
    /// Where the next look goes on among the connections.
    from: Option<u32>,
    /// Backends over UDP that no Service had at the last look at all connections.
    unnamed: BTreeSet<u32>,
    /// Flows of UDP that have left their backend and that connection tracking still has to forget.
    unforgotten: Vec<OutsideKey>,
}

impl Flows {
    /// None yet.
    pub const fn new() -> Self {
        let looks = Looks { from: None, unnamed: BTreeSet::new(), unforgotten: Vec::new() };
        Self { conntrack: None, looks }
    }

    /// One look.
    pub fn follow(
        &mut self,
        book: &Book,
        maps: &mut (impl ReadMaps + OutsideCharges),
    ) -> Result<(), FlowsError> {
        let unnamed = book.unnamed_udp(maps).collect();
        let read = self.looks.read(unnamed, maps)?;
        if read.is_empty() && self.looks.unforgotten.is_empty() {
            return Ok(());
        }
        let conntrack = match self.conntrack.take() {
            Some(conntrack) => conntrack,
            None => Conntrack::open()?,
        };
        let is_named = |backend| book.is_named(backend);
        self.looks.pass(&read, is_named, &conntrack, maps)?;
        // After an error another socket is opened: what this one still has to say is of the last look.
        self.conntrack = Some(conntrack);
        Ok(())
    }
}

impl Read {
    fn is_empty(&self) -> bool {
        self.next.is_empty() && self.all.as_ref().is_none_or(Vec::is_empty)
    }
}

impl Looks {
    /// The connections of this look. `unnamed` are the backends over UDP that no Service has.
    fn read(
        &mut self,
        unnamed: BTreeSet<u32>,
        maps: &impl OutsideCharges,
    ) -> Result<Read, FlowsError> {
        let is_read = unnamed.is_subset(&self.unnamed);
        let all = if is_read { None } else { Some(maps.outside()?) };
        self.unnamed = unnamed;
        let mut next = Vec::new();
        while next.len() < ASKED {
            self.from = maps.read_outside(self.from, &mut next)?;
            if self.from.is_none() {
                break;
            }
        }
        Ok(Read { next, all })
    }

    fn pass(
        &mut self,
        Read { next, all }: &Read,
        is_named: impl Fn(u32) -> bool,
        conntrack: &impl Track,
        maps: &mut impl OutsideCharges,
    ) -> Result<(), FlowsError> {
        let leaves =
            |key: &OutsideKey, flow: &OutsideFlow| key.protocol == UDP && !is_named(flow.backend);
        let looked_at = all.as_ref().unwrap_or(next).iter();
        for (key, flow) in looked_at.filter(|(key, flow)| leaves(key, flow)) {
            // First, so that a datagram between both begins a flow that stands for what connection
            // tracking makes of the one after it.
            if maps.end_outside(key, flow)? {
                self.unforgotten.push(*key);
            } else {
                // A datagram may have been counted meanwhile: all are read again.
                self.unnamed.clear();
            }
        }
        while let Some(key) = self.unforgotten.last() {
            conntrack.forget(key)?;
            self.unforgotten.pop();
        }
        let old = maps.monotonic_ns().saturating_sub(YOUNG.as_nanos() as u64);
        let is_asked =
            |(key, flow): &&(OutsideKey, OutsideFlow)| flow.since < old && !leaves(key, flow);
        let mut ended = 0;
        for (key, flow) in next.iter().filter(is_asked) {
            if !conntrack.has(key)? {
                ended += usize::from(maps.end_outside(key, flow)?);
            }
        }
        if ended > 0 {
            tracing::debug!(ended, "connections from outside that ended without a packet");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::BTreeMap, io};

    use balancer_common::layout::TCP;

    use super::*;

    /// How many are read at once.
    const SOME: usize = 1000;

    /// What was done, in order.
    type Log = RefCell<Vec<String>>;

    struct Held<'a>(BTreeMap<OutsideKey, OutsideFlow>, &'a Log);

    impl OutsideCharges for Held<'_> {
        fn outside(&self) -> Result<Vec<(OutsideKey, OutsideFlow)>, MapsError> {
            Ok(self.0.iter().map(|(key, flow)| (*key, *flow)).collect())
        }

        fn read_outside(
            &self,
            from: Option<u32>,
            found: &mut Vec<(OutsideKey, OutsideFlow)>,
        ) -> Result<Option<u32>, MapsError> {
            let from = from.unwrap_or(0);
            let of = self.0.iter().skip(from as usize * SOME).take(SOME);
            found.extend(of.map(|(key, flow)| (*key, *flow)));
            Ok(((from as usize + 1) * SOME < self.0.len()).then_some(from + 1))
        }

        fn end_outside(&mut self, key: &OutsideKey, flow: &OutsideFlow) -> Result<bool, MapsError> {
            self.1.borrow_mut().push(format!("end {}", key.client_port));
            let stands = self.0.get(key) == Some(flow);
            Ok(stands && self.0.remove(key).is_some())
        }

        fn monotonic_ns(&self) -> u64 {
            YOUNG.as_nanos() as u64 * 10
        }
    }

    struct Tracked<'a> {
        known: &'a [u16],
        refuses: bool,
        log: &'a Log,
    }

    impl Track for Tracked<'_> {
        fn has(&self, key: &OutsideKey) -> Result<bool, NatError> {
            Ok(self.known.contains(&key.client_port))
        }

        fn forget(&self, key: &OutsideKey) -> Result<(), NatError> {
            self.log.borrow_mut().push(format!("forget {}", key.client_port));
            match self.refuses {
                true => Err(NatError::Conntrack(io::Error::from_raw_os_error(libc::ENOBUFS))),
                false => Ok(()),
            }
        }
    }

    fn flow(protocol: u8, client_port: u16, backend: u32) -> (OutsideKey, OutsideFlow) {
        let key = OutsideKey {
            client: [0; 4],
            service: [0; 4],
            client_port,
            service_port: 80,
            protocol,
            zero: [0; 3],
        };
        (key, OutsideFlow { since: 1, backend, ..OutsideFlow::default() })
    }

    /// One pass; gives what was done and which flows are left, by their ports.
    fn pass(
        looks: &mut Looks,
        flows: &[(OutsideKey, OutsideFlow)],
        known: &[u16],
        refuses: bool,
    ) -> (Vec<String>, Vec<u16>) {
        let log = Log::default();
        let mut held = Held(flows.iter().copied().collect(), &log);
        let read = Read { next: held.outside().unwrap(), all: None };
        let tracked = Tracked { known, refuses, log: &log };
        let passed = looks.pass(&read, |backend| backend == 7, &tracked, &mut held);
        assert_eq!(passed.is_err(), refuses);
        let left = held.0.keys().map(|key| key.client_port).collect();
        (log.into_inner(), left)
    }

    #[test]
    fn a_flow_of_udp_is_ended_before_it_is_forgotten_and_forgotten_once_that_works() {
        let flows = [flow(UDP, 1, 9), flow(UDP, 2, 7), flow(TCP, 3, 9)];
        let known = [1, 2, 3];
        let mut looks = Looks::default();
        let (done, left) = pass(&mut looks, &flows, &known, true);
        assert_eq!((done.join(", "), left), ("end 1, forget 1".to_owned(), vec![2, 3]));
        // It is gone from the map, and connection tracking is told again.
        let (done, left) = pass(&mut looks, &flows[1..], &known, false);
        assert_eq!((done.join(", "), left), ("forget 1".to_owned(), vec![2, 3]));
        assert_eq!(pass(&mut looks, &flows[1..], &known, false).0, [""; 0]);
    }

    #[test]
    fn a_flow_that_a_datagram_has_changed_meanwhile_leaves_its_backend_at_the_next_look() {
        let log = Log::default();
        let (key, read) = flow(UDP, 1, 9);
        let mut held = Held([(key, OutsideFlow { since: 2, ..read })].into(), &log);
        let tracked = Tracked { known: &[1], refuses: false, log: &log };
        let mut looks = Looks { unnamed: [9].into(), ..Looks::default() };
        let read = Read { next: vec![(key, read)], all: None };
        looks.pass(&read, |_| false, &tracked, &mut held).unwrap();
        assert_eq!(held.0.len(), 1);
        let others = (2..3000).map(|port| flow(TCP, port, 7));
        held.0.extend(others);
        let read = looks.read([9].into(), &held).unwrap();
        let all = read.all.as_ref().map(Vec::len);
        assert_eq!(all, Some(2999), "all, though no other backend has left");
        looks.pass(&read, |backend| backend == 7, &tracked, &mut held).unwrap();
        assert!(!held.0.contains_key(&key));
    }

    #[test]
    fn what_is_not_tracked_any_more_is_ended() {
        let flows = [flow(TCP, 1, 7), flow(UDP, 2, 7), flow(TCP, 3, 7)];
        let (done, left) = pass(&mut Looks::default(), &flows, &[3], false);
        assert_eq!((done.join(", "), left), ("end 1, end 2".to_owned(), vec![3]));
    }

    #[test]
    fn each_look_goes_on_where_the_last_one_ended_unless_a_backend_has_left() {
        let log = Log::default();
        let flows = (0..4500).map(|port| flow(TCP, port, 7));
        let held = Held(flows.collect(), &log);
        let mut looks = Looks::default();
        let mut read = |unnamed: &[u32]| {
            let Read { next, all } = looks.read(unnamed.iter().copied().collect(), &held).unwrap();
            (next.len(), next.first().map(|(key, _)| key.client_port), all.map(|all| all.len()))
        };
        assert_eq!(read(&[]), (2000, Some(0), None));
        assert_eq!(read(&[9]), (2000, Some(2000), Some(4500)), "all, once");
        assert_eq!(read(&[9]), (500, Some(4000), None));
        assert_eq!(read(&[]), (2000, Some(0), None));
    }

    #[test]
    fn connection_tracking_is_asked_for_the_next_ones_alone_where_all_are_read() {
        let log = Log::default();
        let flows = (0..4500).map(|port| flow(TCP, port, 7));
        let mut held = Held(flows.collect(), &log);
        let mut looks = Looks::default();
        let read = looks.read([9].into(), &held).unwrap();
        let tracked = Tracked { known: &[], refuses: false, log: &log };
        looks.pass(&read, |backend| backend == 7, &tracked, &mut held).unwrap();
        assert_eq!(held.0.len(), 2500);
    }
}
