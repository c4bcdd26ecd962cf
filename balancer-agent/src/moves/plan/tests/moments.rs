//! At which moment connections are ended, and when the next look is made.

use super::*;

#[test]
fn what_is_busy_is_waited_for() {
    let mut world = World::new(Moving { rebalance: Some(true), ..Moving::default() }, &[1, 2]);
    world.open(1, 10, 9 * SECOND);
    world.busy(|_| true);
    world.pass();
    world.later(3 * SECOND);
    assert_eq!(world.pass(), []);
    world.idle.values_mut().take(3).for_each(|idle| *idle = Some(SECOND));
    assert_eq!(world.pass().len(), 3);
}

/// Between the moment at which it has been quiet for long enough and a second, a client may be about to send.
#[test]
fn what_may_be_about_to_send_is_waited_for() {
    let mut world = World::new(Moving { rebalance: Some(true), ..Moving::default() }, &[1, 2]);
    world.open(1, 6, 9 * SECOND);
    world.busy(|_| true);
    world.pass();
    world.later(3 * SECOND);
    let idles = [52, 99, 60, 999, 1000, 55].map(Duration::from_millis);
    world.idle.values_mut().zip(idles).for_each(|(idle, time)| *idle = Some(time));
    let ended: Vec<_> = world.pass().iter().map(|end| end.idle.as_millis()).collect();
    assert_eq!(ended, [1000, 52, 55], "as many as are too many");
}

/// A client with a rhythm is waited for, and not broken off for it.
#[test]
fn what_is_quiet_is_never_reset_because_the_moment_is_not_safe() {
    let mut world = World::new(Moving { max_age: time(60), ..Moving::default() }, &[1]);
    world.open(1, 1, 61 * SECOND);
    world.idle.values_mut().for_each(|idle| *idle = Some(Duration::from_millis(300)));
    assert_eq!(world.pass(), [], "it may be about to send");
    world.change(|row| row.policy.reset_after = time(30));
    world.input.now += 40 * SECOND;
    assert_eq!(reasons(&world.pass()), [(Reason::Age, Way::Gentle)]);
}

/// The next pass comes when the first of them will have been quiet for long enough.
#[test]
fn who_is_not_quiet_yet_is_looked_at_when_it_is() {
    let moving = Moving { max_age: time(60), ..Moving::default() };
    let mut world = World::new(moving, &[1]);
    world.open(1, 3, 61 * SECOND);
    let mut quiet =
        [Some(Duration::from_millis(20)), None, Some(Duration::from_millis(35))].into_iter();
    world.idle.values_mut().for_each(|idle| *idle = quiet.next().unwrap());
    assert_eq!(world.soonest(), Some(Duration::from_millis(15)));
    assert_eq!(world.pass(), []);
    world
        .idle
        .values_mut()
        .for_each(|idle| *idle = idle.map(|idle| idle + Duration::from_millis(15)));
    assert_eq!(reasons(&world.pass()), [(Reason::Age, Way::Gentle)]);
}

#[test]
fn a_round_of_moves_begins_as_soon_as_backends_have_not_changed_for_long_enough() {
    let moving = Moving { rebalance: Some(true), ..Moving::default() };
    let mut world = World::new(moving, &[1]);
    world.open(1, 4, 100 * SECOND);
    assert_eq!(world.pass(), []);
    world.later(10 * SECOND);
    assert_eq!(settles_in(&world.input, &world.history), None, "nothing is waited for");
    world.change(|row| row.usable.extend([(2, 1)]));
    assert_eq!(world.pass(), []);
    let rest = settles_in(&world.input, &world.history).expect("backends have changed");
    world.later(rest - Duration::from_millis(1));
    assert_eq!(world.pass(), []);
    world.later(Duration::from_millis(1));
    assert_eq!(world.pass().len(), 2);
}
