//! One way to name things in every verb, and what unknown names get: exit code 1 and the nearest ones.

use crate::{
    agent,
    double::{Double, idle},
};

/// Verbs that take a Service.
const TAKE_A_SERVICE: [&[&str]; 8] = [
    &["services"],
    &["backends"],
    &["connections"],
    &["clients"],
    &["events"],
    &["trace", "--max-events", "1"],
    &["top", "--once", "--interval", "1s"],
    &["rebalance", "--dry-run"],
];

#[test]
fn every_verb_takes_a_service_the_same_ways() {
    let double = Double::start();
    for verb in TAKE_A_SERVICE {
        let ask = |args: &[&str]| agent(&[verb, &["--socket", double.socket()], args].concat());
        for named in [
            &["shop/cart"][..],
            &["--service", "shop/cart"],
            &["cart", "-n", "shop"],
            &["--service", "cart", "--namespace", "shop"],
        ] {
            ask(named).with(0);
        }
        ask(&["a/b/c"]).with(2).saying("give NAMESPACE/NAME");
        ask(&["shop/cart", "--service", "shop/cart"]).with(2).saying("cannot be used with");
    }
    for verb in TAKE_A_SERVICE.into_iter().filter(|verb| verb[0] != "clients") {
        let ask = |args: &[&str]| agent(&[verb, &["--socket", double.socket()], args].concat());
        ask(&["shop/cart", "-n", "other"]).with(2).saying("is not in the namespace other");
    }
    agent(&["rebalance", "--socket", double.socket()]).with(2).saying("SERVICE");
}

#[test]
fn an_unknown_service_ends_every_verb_with_the_nearest_names() {
    let double = Double::serving(idle());
    for verb in TAKE_A_SERVICE {
        let ask = |args: &[&str]| agent(&[verb, &["--socket", double.socket()], args].concat());
        let ended = ask(&["shop/crat"]).with(1).saying("did you mean shop/cart?");
        assert_eq!(ended.out, "", "{verb:?}");
        ask(&["zzz/qqq"]).with(1).saying("`balancer-agent services` lists those that are");
    }
}

#[test]
fn an_unknown_backend_or_pod_does_so_too() {
    let double = Double::serving(idle());
    let ask = |args: &[&str]| agent(&[args, &["--socket", double.socket()]].concat());
    ask(&["connections", "--backend", "10.0.0.2"]).with(1).saying("did you mean 10.0.0.1:8080?");
    ask(&["connections", "--backend", "10.0.0.1:80"]).with(1).saying("did you mean 10.0.0.1:8080?");
    ask(&["connections", "--backend", "192.0.2.1"]).with(1).saying("`balancer-agent backends`");
    ask(&["drain", "10.0.0.9"]).with(1).saying("did you mean 10.0.0.1:8080?");
    let none = ask(&["connections", "--backend", "10.0.0.1", "--no-headers"]).with(0);
    assert_eq!(none.out, "", "a backend without connections is no error");
}
