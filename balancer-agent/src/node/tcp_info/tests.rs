use super::*;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn activity(sent: u64, received: u64, acknowledged: u64) -> Activity {
    Activity {
        state: ESTABLISHED,
        sent: ms(sent),
        received: ms(received),
        acknowledged: ms(acknowledged),
        bytes_sent: 300,
        bytes_received: 5_000,
        ..Activity::default()
    }
}

#[test]
fn whose_turn_it_is_is_told_by_what_moved_last() {
    // sent, received, acknowledged so many milliseconds ago
    for (sent, received, acknowledged, want) in [
        (500, 490, 490, Turn::Client),
        // A request that was not answered.
        (500, 900, 500, Turn::Server),
        (60_000, 60_200, 59_960, Turn::Server),
        // One tick, and the server has acknowledged what was sent in it later.
        (5_000, 5_000, 4_960, Turn::Server),
        // One tick, and nothing since; or an answer to a sign of life.
        (500, 500, 500, Turn::Unknown),
        (50_000, 50_000, 5_000, Turn::Unknown),
    ] {
        let found = activity(sent, received, acknowledged);
        assert_eq!(found.turn(), want, "{sent} {received} {acknowledged}");
    }
}

#[test]
fn a_first_request_is_awaited_whenever_it_was_sent() {
    let asked = Activity { bytes_received: 0, ..activity(900, 900, 900) };
    assert_eq!(asked.turn(), Turn::Server);
    let unused = Activity { bytes_sent: 0, ..asked };
    assert_eq!(unused.turn(), Turn::Client);
}

#[test]
fn what_was_acknowledged_since_tells_whose_turn_it_is() {
    let before = Activity { bare_sent: u32::MAX, ..activity(90, 90, 90) };
    let rests = |idle| Activity { bare_sent: u32::MAX, ..activity(idle, idle, idle) };
    let moved = |idle| Activity { bytes_sent: 400, bytes_received: 6_000, ..rests(idle) };
    let bare = |sent: u32, received: u32, activity: Activity| Activity {
        bare_sent: u32::MAX.wrapping_add(sent),
        bare_received: received,
        ..activity
    };
    for (now, want) in [
        (rests(100), Turn::Unknown),
        (bare(1, 0, rests(100)), Turn::Client),
        (bare(0, 1, rests(100)), Turn::Server),
        (bare(1, 1, rests(100)), Turn::Unknown),
        // Signs of life of a connection that rests, and an answer that was sent again.
        (bare(1, 0, rests(9_000)), Turn::Unknown),
        (Activity { data_segments: 1, ..bare(1, 0, rests(100)) }, Turn::Unknown),
        // Answered with the acknowledgement.
        (moved(60), Turn::Client),
        (bare(1, 0, moved(60)), Turn::Client),
        // Two segments, acknowledged at once; then an answer, or one before.
        (bare(1, 1, moved(60)), Turn::Unknown),
        (bare(0, 1, moved(60)), Turn::Unknown),
        (bare(0, 1, moved(300)), Turn::Server),
        // One of both alone.
        (Activity { bytes_sent: 300, ..bare(0, 1, moved(60)) }, Turn::Client),
        (Activity { bytes_received: 5_000, ..moved(60) }, Turn::Server),
        // It is not known how the rest will be acknowledged.
        (Activity { unacknowledged: 1, ..moved(60) }, Turn::Unknown),
    ] {
        assert_eq!(now.turn_since(&before), want, "{now:?}");
    }
}

#[test]
fn rests_are_short_or_long() {
    // Quiet at least, quiet for -> safe.
    for (quiet, idle, want) in [
        (50, 50, true),
        (50, 59, true),
        (50, 60, false),
        (50, 999, false),
        (50, 1000, true),
        (20, 29, true),
        (600, 719, true),
        (600, 720, false),
    ] {
        assert_eq!(activity(idle, idle, idle).is_safe(ms(quiet)), want, "{quiet} {idle}");
    }
    for (idle, want) in [(60, true), (74, true), (75, false), (999, false), (1000, true)] {
        assert_eq!(activity(idle, idle, idle).is_safe_still(ms(50)), want, "{idle}");
    }
}

#[test]
fn nothing_may_be_under_way() {
    let rests = activity(900, 900, 900);
    assert!(rests.is_empty());
    for busy in [
        Activity { unread: 1, ..rests },
        Activity { unacknowledged: 1, ..rests },
        Activity { state: 2, ..rests },
        Activity { state: 8, ..rests },
    ] {
        assert!(!busy.is_empty(), "{busy:?}");
    }
}

#[test]
fn what_is_too_short_is_not_read() {
    assert_eq!(Activity::read(&[1; LENGTH - 1], 0, 0), None);
    let mut info = [0; 300];
    info[STATE] = ESTABLISHED;
    info[LAST_DATA_SENT..LAST_DATA_SENT + 4].copy_from_slice(&7_u32.to_ne_bytes());
    info[BYTES_ACKED..BYTES_ACKED + 8].copy_from_slice(&101_u64.to_ne_bytes());
    info[BYTES_RECEIVED..BYTES_RECEIVED + 8].copy_from_slice(&55_u64.to_ne_bytes());
    for (at, count) in [(SEGS_OUT, 9), (DATA_SEGS_OUT, 4), (SEGS_IN, 8), (DATA_SEGS_IN, 2)] {
        info[at..at + 4].copy_from_slice(&u32::to_ne_bytes(count));
    }
    let read = Activity::read(&info, 3, 4).unwrap();
    assert_eq!((read.bare_sent, read.bare_received, read.data_segments), (5, 6, 6));
    assert_eq!((read.sent, read.bytes_sent, read.bytes_received), (ms(7), 100, 55));
    assert_eq!((read.unread, read.unacknowledged, read.state_name()), (3, 4, "established"));
}
