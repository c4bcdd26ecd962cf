use super::*;

const QUIET: Duration = Duration::from_millis(50);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A connection whose answers come within a tick, or whose requests follow within one.
#[derive(Clone, Copy)]
struct Wire {
    now: Duration,
    activity: Activity,
}

impl Wire {
    fn new() -> Self {
        let activity = Activity {
            state: 1,
            bytes_sent: 1_000,
            bytes_received: 1_000,
            data_segments: u32::MAX,
            bare_sent: u32::MAX,
            bare_received: u32::MAX,
            ..Activity::default()
        };
        Self { now: Duration::ZERO, activity }
    }

    /// A request and an answer, in one tick, whichever came first. Either side may acknowledge by
    /// itself what it received.
    fn exchange(&mut self, bare_received: u32, bare_sent: u32) {
        let Activity { bytes_sent, bytes_received, data_segments, .. } = &mut self.activity;
        *bytes_sent += 100;
        *bytes_received += 100;
        *data_segments = data_segments.wrapping_add(2);
        let Activity { sent, received, acknowledged, .. } = &mut self.activity;
        (*sent, *received, *acknowledged) = Default::default();
        self.acknowledge(bare_received, bare_sent);
    }

    fn acknowledge(&mut self, received: u32, sent: u32) {
        let Activity { bare_received, bare_sent, .. } = &mut self.activity;
        *bare_received = bare_received.wrapping_add(received);
        *bare_sent = bare_sent.wrapping_add(sent);
    }

    fn later(&mut self, time: Duration) {
        self.now += time;
        let Activity { sent, received, acknowledged, .. } = &mut self.activity;
        for ago in [sent, received, acknowledged] {
            *ago += time;
        }
    }

    fn look(&self, looks: &mut Looks) -> Seen {
        looks.look(self.now, 1, &Found { inode: 1, activity: self.activity })
    }
}

/// The server acknowledged the request with its answer.
#[test]
fn what_was_answered_at_once_is_quiet() {
    let (mut wire, mut looks) = (Wire::new(), Looks::default());
    wire.later(ms(70));
    let seen = wire.look(&mut looks);
    assert!(seen.turn == Turn::Unknown && seen.is_unsure(), "one look does not tell: {seen:?}");
    wire.exchange(0, 0);
    wire.later(ms(20));
    assert_eq!(wire.look(&mut looks).waits(QUIET), Some(QUIET));
    wire.acknowledge(0, 1);
    wire.later(ms(32));
    let seen = wire.look(&mut looks);
    assert_eq!(seen.turn, Turn::Client);
    assert!(seen.is_quiet(QUIET) && !seen.is_quiet(ms(60)), "{seen:?}");
}

/// Two segments are acknowledged at once, before they are answered; the client's kernel
/// acknowledges the answer when it has waited for the next request in vain.
#[test]
fn who_acknowledges_late_has_been_answered() {
    let (mut wire, mut looks) = (Wire::new(), Looks::default());
    wire.look(&mut looks);
    wire.exchange(1, 0);
    wire.later(ms(20));
    assert_eq!(wire.look(&mut looks).turn, Turn::Unknown);
    wire.acknowledge(0, 1);
    wire.later(ms(30));
    assert!(wire.look(&mut looks).is_quiet(QUIET));
    // For as long as nothing moves, whatever else is said.
    wire.acknowledge(1, 0);
    wire.later(ms(10));
    assert!(wire.look(&mut looks).is_quiet(QUIET));
}

/// A request of two segments follows at once on the answer before it, and is acknowledged at once.
#[test]
fn a_call_that_follows_at_once_is_waited_for() {
    for answer_is_acknowledged in [0, 1] {
        let (mut wire, mut looks) = (Wire::new(), Looks::default());
        wire.look(&mut looks);
        for call in 0..10 {
            wire.exchange(1, answer_is_acknowledged);
            for _ in 0..40 {
                let seen = wire.look(&mut looks);
                assert_ne!(seen.turn, Turn::Client, "call {call}: {seen:?}");
                // Asked, the socket does not say that it is the client's.
                looks.untold(1);
                assert!(!wire.look(&mut looks).is_quiet(QUIET), "call {call}");
                wire.later(ms(50));
            }
        }
    }
}

/// Whoever does not acknowledge an answer for long has sent something since.
#[test]
fn what_is_known_to_wait_waits_for_ever() {
    let (mut wire, mut looks) = (Wire::new(), Looks::default());
    wire.look(&mut looks);
    wire.exchange(1, 0);
    wire.later(ms(300));
    assert_eq!(wire.look(&mut looks).turn, Turn::Server);
    wire.acknowledge(1, 1);
    wire.later(ms(60_000));
    assert_eq!(wire.look(&mut looks).turn, Turn::Server, "a sign of life");
}

#[test]
fn what_nothing_tells_rests_for_longer() {
    let (mut wire, mut looks) = (Wire::new(), Looks::default());
    wire.later(ms(59_900));
    let seen = wire.look(&mut looks);
    assert!(seen.is_quiet(QUIET) && seen.is_unsure(), "the socket is asked: {seen:?}");
    looks.untold(1);
    let seen = wire.look(&mut looks);
    assert_eq!(seen.waits(QUIET), Some(UNSURE), "{seen:?}");
    assert!(!seen.is_quiet(QUIET), "{seen:?}");
    wire.later(ms(100));
    let seen = wire.look(&mut looks);
    assert!(seen.is_quiet(QUIET) && !seen.is_unsure(), "{seen:?}");
    assert!(!seen.is_quiet(ms(61_000)));
    // The next exchange may tell.
    wire.exchange(1, 1);
    wire.later(ms(60));
    assert!(wire.look(&mut looks).is_unsure());
}

/// Over HTTP/2 a server acknowledges the client's settings after the first request was sent.
#[test]
fn a_greeting_is_no_answer() {
    let greeted = |bytes_received| {
        let activity = Activity {
            state: 1,
            sent: ms(304),
            received: ms(300),
            bytes_sent: 200,
            bytes_received,
            ..Activity::default()
        };
        Looks::default().look(ms(1_000), 1, &Found { inode: 1, activity })
    };
    assert_eq!(greeted(67).turn, Turn::Unknown);
    assert_eq!(greeted(300).turn, Turn::Client);
}

#[test]
fn what_was_not_looked_at_for_long_is_forgotten() {
    let (mut wire, mut looks) = (Wire::new(), Looks::default());
    wire.look(&mut looks);
    looks.forget(KEPT);
    wire.exchange(0, 0);
    assert_eq!(wire.look(&mut looks.clone()).turn, Turn::Client);
    looks.forget(KEPT + ms(1));
    assert_eq!(wire.look(&mut looks).turn, Turn::Unknown);
}

#[test]
fn what_is_not_quiet_yet_will_be() {
    let seen = |sent, received, turn| {
        let activity =
            Activity { state: 1, sent: ms(sent), received: ms(received), ..Activity::default() };
        Seen { inode: 1, activity, turn, untold: false }
    };
    // Quiet for -> safe after, at the earliest.
    for (idle, want) in [(0, 50), (20, 30), (49, 1), (50, 50), (90, 50), (980, 20), (1000, 50)] {
        assert_eq!(seen(idle, idle, Turn::Client).next_safe(QUIET), ms(want), "{idle}");
    }
    assert_eq!(seen(30, 90, Turn::Server).next_safe(QUIET), QUIET, "from the answer on");
    assert_eq!(seen(30, 30, Turn::Unknown).next_safe(QUIET), ms(20), "the socket may tell");
    let untold = Seen { untold: true, ..seen(30, 30, Turn::Unknown) };
    assert_eq!(untold.next_safe(QUIET), QUIET, "the next exchange may tell");
}
