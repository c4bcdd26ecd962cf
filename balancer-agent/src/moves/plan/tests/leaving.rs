//! Backends that terminate, and those that are gone.

use super::*;

#[test]
fn a_backend_drains_at_an_even_pace() {
    let mut world = World::new(Moving::default(), &[1, 2]);
    world.open(1, 30, 100 * SECOND);
    world.change(|row| {
        row.usable.remove(&1);
        row.leaving.insert(1, Leaving::Draining(10 * SECOND));
    });
    let mut each = vec![world.pass().len()];
    for _ in 0..11 {
        world.later(SECOND);
        each.push(world.pass().len());
    }
    assert_eq!(each, [1, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 0]);
}

#[test]
fn what_leaves_stays_where_there_is_nothing_else() {
    for why in [Leaving::Draining(SECOND), Leaving::Gone(SECOND)] {
        let mut world = World::new(Moving::default(), &[]);
        world.open(1, 5, 100 * SECOND);
        world.leave(1, why);
        for _ in 0..10 {
            world.later(SECOND);
            assert_eq!(world.pass(), [], "{why:?}");
        }
    }
}

#[test]
fn what_leads_to_a_backend_that_is_gone_is_ended_after_a_grace() {
    let mut world = World::new(Moving::default(), &[2]);
    world.open(1, 3, 100 * SECOND);
    world.leave(1, Leaving::Gone(30 * SECOND));
    world.busy(|found| charge::cookie_of(found.word) == 3);
    assert_eq!(world.pass(), []);
    world.later(29 * SECOND);
    assert_eq!(world.pass(), []);
    // It comes back, and goes again: the grace begins anew.
    world.change(|row| row.leaving.clear());
    world.pass();
    world.leave(1, Leaving::Gone(30 * SECOND));
    world.later(SECOND);
    assert_eq!(world.pass(), []);
    world.later(30 * SECOND);
    assert_eq!(reasons(&world.pass()), [(Reason::Stale, Way::Gentle); 2]);
    // What is under way to a pod that is gone stays so; it is reset where that is allowed.
    world.later(3_600 * SECOND);
    assert_eq!(world.pass(), []);
    world.change(|row| row.policy.reset_after = time(10));
    assert_eq!(reasons(&world.pass()), [(Reason::Stale, Way::Reset); 3]);
}
