use super::*;

/// What annotations come to, and what is told of them.
fn read(annotations: &[(&str, &str)]) -> (Tuning, String) {
    let annotations = annotations.iter().map(|(key, value)| ((*key).into(), (*value).into()));
    let mut faults = Faults::default();
    let tuning = tuning(Some(&annotations.collect()), &mut faults);
    let told = faults.iter().map(|fault| format!("{}: {}\n", fault.field, fault.message));
    (tuning, told.collect())
}

#[test]
fn without_annotations_there_is_nothing_to_say() {
    let mut faults = Faults::default();
    assert_eq!(tuning(None, &mut faults), Tuning::default());
    assert_eq!(read(&[("example.com/policy", "random")]), (Tuning::default(), String::new()));
    assert_eq!(faults.count(), 0, "{faults:?}");
}

#[test]
fn a_policy_is_read_by_its_name() {
    for policy in Policy::ALL {
        let (tuning, told) = read(&[("balancer-agent/policy", policy.name())]);
        assert_eq!((tuning.policy, told.as_str()), (policy, ""));
    }
}

#[test]
fn an_unknown_policy_is_told_with_the_closest() {
    for (value, remedy) in [
        ("least-connection", "did you mean least-connections?"),
        ("round_robin", "did you mean round-robin?"),
        ("Random", "did you mean random?"),
        ("power-of-2", "did you mean power-of-two?"),
        (" random ", "did you mean random?"),
        ("wrr", "write one of least-connections, weighted-least-connections, power-of-two,"),
        ("", "write one of least-connections"),
    ] {
        let (tuning, told) = read(&[("balancer-agent/policy", value)]);
        assert_eq!(tuning, Tuning::default(), "{value:?}");
        let start = "metadata.annotations[balancer-agent/policy]: ";
        assert!(told.starts_with(&format!("{start}{value:?} is no policy")), "{told}");
        assert!(told.contains("least-connections is used; "), "{told}");
        assert!(told.contains(remedy), "{told}");
    }
}

#[test]
fn a_slow_start_lasts_from_a_second_to_an_hour() {
    // value -> seconds, or what is told
    let table: [(&str, Result<u32, &str>); 14] = [
        ("1s", Ok(1)),
        ("30s", Ok(30)),
        ("1m30s", Ok(90)),
        ("1h", Ok(3600)),
        ("1500ms", Ok(2)),
        ("500ms", Err("\"500ms\" is not between 1s and 1h")),
        ("0", Err("\"0\" is not between")),
        ("0s", Err("\"0s\" is not between")),
        ("1h1ms", Err("\"1h1ms\" is not between")),
        ("5", Err("\"5\" is no duration")),
        ("-1s", Err("\"-1s\" is no duration")),
        ("banana", Err("\"banana\" is no duration")),
        ("", Err("\"\" is no duration")),
        ("1d", Err("\"1d\" is no duration")),
    ];
    for (value, want) in table {
        let (tuning, told) = read(&[("balancer-agent/slow-start", value)]);
        assert_eq!(tuning.slow_start, want.unwrap_or(0), "{value:?}");
        match want {
            Ok(_) => assert_eq!(told, "", "{value:?}"),
            Err(words) => assert!(told.contains(words), "{told}"),
        }
    }
}

#[test]
fn unknown_annotations_are_told() {
    for (key, words) in [
        ("balancer-agent/polcy", "did you mean balancer-agent/policy?"),
        ("balancer-agent/weight", "did you mean balancer-agent/weights?"),
        ("balancer-agent/slowstart", "did you mean balancer-agent/slow-start?"),
        ("balancer-agent/idle_timeout", "did you mean balancer-agent/idle-timeout?"),
        ("balancer-agent/colour", "known are balancer-agent/policy, balancer-agent/weights,"),
        ("balancer-agent/drain_timeout", "did you mean balancer-agent/drain-timeout?"),
        ("balancer-agent/rebalancing", "did you mean balancer-agent/rebalance?"),
    ] {
        let (tuning, told) = read(&[(key, "1m")]);
        assert_eq!(tuning, Tuning::default(), "{key}");
        assert!(told.starts_with(&format!("metadata.annotations[{key}]: ")), "{told}");
        assert!(told.contains(words), "{told}");
    }
}

#[test]
fn weights_need_their_policy() {
    let weighted = ("balancer-agent/policy", "weighted-least-connections");
    let weights = ("balancer-agent/weights", "zone/a=3, pod/web-=2");
    let (tuning, told) = read(&[weighted, weights]);
    assert_eq!((tuning.weights.len(), told.as_str()), (2, ""));
    for policy in [None, Some(("balancer-agent/policy", "random"))] {
        let annotations: Vec<_> = policy.into_iter().chain([weights]).collect();
        let (tuning, told) = read(&annotations);
        assert_eq!(tuning.weights, []);
        assert!(told.contains("knows no weights: they have no effect"), "{told}");
    }
}

#[test]
fn moves_are_read_and_what_is_wrong_leaves_the_default() {
    let (tuning, told) = read(&[
        ("balancer-agent/idle-timeout", "10m"),
        ("balancer-agent/rebalance", "true"),
        ("balancer-agent/drain-timeout", "banana"),
    ]);
    let moving = tuning.moving.unwrap();
    assert_eq!(moving.idle_timeout, Some(Duration::from_secs(600)));
    assert_eq!((moving.rebalance, moving.drain_timeout), (Some(true), None));
    assert_eq!(
        told,
        "metadata.annotations[balancer-agent/drain-timeout]: \"banana\" is no duration; write one \
         such as 30s or 10m, or off; the cluster's default is used\n"
    );
}

#[test]
fn an_age_below_the_idle_timeout_is_told() {
    let annotations =
        [("balancer-agent/idle-timeout", "10m"), ("balancer-agent/max-connection-age", "1m")];
    let (tuning, told) = read(&annotations);
    assert_eq!(tuning.moving.unwrap().max_age, Some(Duration::from_secs(60)));
    let words = "metadata.annotations[balancer-agent/idle-timeout]: max-connection-age is shorter";
    assert!(told.starts_with(words), "{told}");
}

#[test]
fn rebalancing_needs_an_exact_choice() {
    for policy in Policy::ALL {
        let annotations =
            [("balancer-agent/policy", policy.name()), ("balancer-agent/rebalance", "true")];
        let (tuning, told) = read(&annotations);
        assert_eq!(tuning.moving.unwrap().rebalance, Some(policy.chooses_least()), "{policy:?}");
        assert_eq!(told.is_empty(), policy.chooses_least(), "{told}");
    }
}
