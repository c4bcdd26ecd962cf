use super::*;
use crate::{
    model::Protocol,
    top::testing::{connection, look},
};

fn port(service: &str) -> PortKey {
    PortKey {
        namespace: "shop".into(),
        service: service.into(),
        number: 80,
        protocol: Protocol::Tcp,
    }
}

fn backend(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 8080))
}

fn rates(looks: Vec<Look>) -> Rates {
    let mut rates = Rates::default();
    looks.into_iter().for_each(|look| rates.take(look));
    rates
}

#[test]
fn nothing_is_known_of_one_look() {
    let rates = rates(vec![look(0, vec![connection("cart", 1, 1, 9, 500)])]);
    assert_eq!(rates.connections()[0].rate, None);
    assert_eq!(rates.of(&port("cart"), backend(1), 1), None);
}

#[test]
fn what_was_opened_in_between_has_sent_everything_since() {
    let rates = rates(vec![
        look(0, vec![connection("cart", 1, 1, 9, 500)]),
        look(
            10,
            vec![
                connection("cart", 1, 1, 19, 1_500),
                connection("cart", 1, 2, 3, 200),
                connection("cart", 1, 3, 60, 7_000),
            ],
        ),
    ]);
    let each: Vec<_> = rates.connections().iter().map(|seen| seen.rate).collect();
    assert_eq!(each, [Some(100.0), Some(20.0), None], "one was open and not seen before");
    assert_eq!(rates.of(&port("cart"), backend(1), 3), Some(120.0));
    assert_eq!(rates.of(&port("cart"), backend(2), 0), Some(0.0));
}

#[test]
fn an_address_that_is_used_again_is_another_connection() {
    let rates = rates(vec![
        look(0, vec![connection("cart", 1, 1, 9, 5_000)]),
        look(10, vec![connection("cart", 1, 1, 4, 50)]),
    ]);
    assert_eq!(rates.connections()[0].rate, Some(5.0));
}

#[test]
fn of_a_sample_the_others_are_taken_to_be_alike() {
    let sampled = |second, sent| Look {
        sampled: true,
        ..look(second, vec![connection("cart", 1, 1, 99, sent), connection("cart", 1, 2, 99, sent)])
    };
    let rates = rates(vec![sampled(0, 0), sampled(10, 1_000)]);
    assert!(rates.is_sampled());
    assert_eq!(rates.of(&port("cart"), backend(1), 10), Some(1_000.0));
    assert_eq!(rates.of(&port("cart"), backend(2), 10), None, "none of it was looked at");
}

#[test]
fn a_look_at_one_service_leaves_the_others_as_they_were() {
    let both =
        |sent| vec![connection("cart", 1, 1, 99, sent), connection("search", 2, 2, 99, sent)];
    let only = Some(("shop".to_owned(), "cart".to_owned()));
    let mut rates = rates(vec![look(0, both(0)), look(10, both(100))]);
    rates.take(Look { only, ..look(20, vec![connection("cart", 1, 1, 109, 400)]) });
    assert_eq!(rates.of(&port("cart"), backend(1), 1), Some(30.0));
    assert_eq!(rates.of(&port("search"), backend(2), 1), Some(10.0));
    assert_eq!(rates.connections().len(), 2);
    // Its rate is over all the time since it was seen last.
    rates.take(look(30, both(500)));
    assert_eq!(rates.of(&port("search"), backend(2), 1), Some(20.0));
    rates.take(look(40, Vec::new()));
    assert!(rates.connections().is_empty());
    assert_eq!(rates.of(&port("search"), backend(2), 0), Some(0.0));
}

#[test]
fn a_socket_out_of_reach_has_no_rate() {
    let silent = |second| {
        let view = ConnectionView { activity: None, ..connection("cart", 1, 1, 99, 0) };
        look(second, vec![view])
    };
    let rates = rates(vec![silent(0), silent(10)]);
    assert_eq!(rates.connections()[0].rate, None);
}
