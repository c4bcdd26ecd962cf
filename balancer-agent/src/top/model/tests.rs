use super::*;
use crate::{
    top::testing::{model, sample, service},
    view::BackendState,
};

fn row(model: &Model, name: &str) -> TopServiceView {
    model.view().services.iter().find(|row| row.service == name).expect(name).clone()
}

#[test]
fn two_samples_give_rates_and_one_gives_none() {
    let mut seen = Model::default();
    seen.take(sample(3, vec![service("cart", &[(9, 90, 0), (3, 30, 0)])]), None);
    let first = row(&seen, "cart");
    assert_eq!((first.opened_per_s, first.rate, first.moved), (None, None, Some(0)));
    assert_eq!((first.connections, first.least, first.most), (12, Some(3), Some(9)));
    assert_eq!((first.skew, seen.view().elapsed_ms), (Some(1.5), None));

    // Of 14 opened in 4 s two failed and ten were closed; two more are open.
    seen.take(sample(7, vec![service("cart", &[(10, 100, 0), (4, 34, 2)])]), None);
    let next = row(&seen, "cart");
    assert_eq!(seen.view().elapsed_ms, Some(4_000));
    assert_eq!(next.opened_per_s, Some(3.5));
    assert_eq!(next.failed_per_s, Some(0.5));
    assert_eq!(next.closed_per_s, Some(2.5));
    assert_eq!(next.backends[1].opened_per_s, Some(1.0));
}

#[test]
fn counters_that_begin_anew_are_no_negative_rates() {
    let mut seen = Model::default();
    seen.take(sample(0, vec![service("cart", &[(9, 900, 5)])]), None);
    seen.take(sample(1, vec![service("cart", &[(1, 1, 0)])]), None);
    let row = row(&seen, "cart");
    assert_eq!((row.opened_per_s, row.failed_per_s), (Some(0.0), Some(0.0)));
}

#[test]
fn a_backend_that_has_just_come_has_no_rate_yet() {
    let mut seen = Model::default();
    seen.take(sample(0, vec![service("cart", &[(9, 900, 0)])]), None);
    seen.take(sample(1, vec![service("cart", &[(9, 900, 0), (1, 1, 0)])]), None);
    let row = row(&seen, "cart");
    assert_eq!(row.backends[0].opened_per_s, Some(0.0));
    assert_eq!((row.backends[1].opened_per_s, row.opened_per_s), (None, Some(0.0)));
}

#[test]
fn what_is_compared_are_usable_backends_by_their_weights_and_of_all_nodes() {
    let mut heavy = service("cart", &[(6, 0, 0), (2, 0, 0), (9, 0, 0)]);
    heavy.backends[0].weight = 3;
    heavy.backends[2].state = BackendState::Draining;
    let mut seen = Model::default();
    seen.take(sample(0, vec![heavy.clone()]), None);
    let of_this_node = row(&seen, "cart");
    assert_eq!((of_this_node.usable, of_this_node.skew), (2, Some(1.0)));
    assert_eq!((of_this_node.least, of_this_node.most), (Some(2), Some(6)));
    for (backend, cluster) in heavy.backends.iter_mut().zip([12, 12, 9]) {
        backend.cluster_active = Some(cluster);
    }
    seen.take(sample(1, vec![heavy]), None);
    let of_all = row(&seen, "cart");
    assert_eq!((of_all.cluster_active, of_all.skew), (Some(33), Some(2.0)));
    assert_eq!(of_all.connections, 17);
}

#[test]
fn moves_are_those_of_the_last_minute() {
    let mut seen = Model::default();
    let mut at = |second, moved| {
        let service = ServiceView { moved_total: moved, ..service("cart", &[(1, 1, 0)]) };
        seen.take(sample(second, vec![service]), None);
        row(&seen, "cart").moved
    };
    assert_eq!(at(0, Some(10)), Some(0));
    assert_eq!(at(30, Some(14)), Some(4));
    assert_eq!(at(60, Some(15)), Some(5));
    assert_eq!(at(80, Some(15)), Some(1), "those of the first half minute are past");
    assert_eq!(at(90, Some(0)), Some(0), "another agent");
    assert_eq!(at(91, None), None, "no agent");
}

#[test]
fn trends_end_with_the_latest_and_go_with_their_backend() {
    let mut seen = Model::default();
    for second in 0..100 {
        seen.take(sample(second, vec![service("cart", &[(second as u32, 0, 0)])]), None);
    }
    let port = PortKey::of(&row(&seen, "cart"));
    let backend = SocketAddr::from(([10, 0, 0, 1], 8080));
    assert!(seen.trend(&port, backend).eq(40..100));
    seen.take(sample(100, Vec::new()), None);
    assert_eq!(seen.trend(&port, backend).count(), 0);
}

#[test]
fn equal_counts_may_be_unequal_load() {
    let seen = model();
    let cart = row(&seen, "cart");
    // 40 KiB and 10 KiB within 10 s.
    assert_eq!(cart.backends[0].rate, Some(4096.0));
    assert_eq!((cart.rate, cart.rate_skew), (Some(5120.0), Some(1.6)));
    assert_eq!(row(&seen, "search").rate, Some(0.0));
}
