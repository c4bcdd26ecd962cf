//! The weight of an endpoint. Pure.

use balancer_common::policy::DEFAULT_WEIGHT;

use crate::model::{Endpoint, Selector, WeightRule};

/// What the first rule that is about the endpoint says.
pub fn of(rules: &[WeightRule], endpoint: &Endpoint) -> u16 {
    let about = |rule: &&WeightRule| match &rule.selector {
        Selector::Zone(zone) => endpoint.place.zone.as_deref() == Some(zone),
        Selector::PodPrefix(prefix) => {
            endpoint.pod.as_ref().is_some_and(|pod| pod.starts_with(prefix))
        }
        Selector::Address(address) => endpoint.address == *address,
    };
    rules.iter().find(about).map_or(DEFAULT_WEIGHT, |rule| rule.weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Place;

    #[test]
    fn the_first_rule_that_matches_counts() {
        let rule = |selector, weight| WeightRule { selector, weight };
        let rules = [
            rule(Selector::Zone("a".into()), 3),
            rule(Selector::PodPrefix("web-canary-".into()), 5),
            rule(Selector::Address([10, 0, 0, 9].into()), 7),
        ];
        // zone, pod, last byte of the address -> weight
        for (zone, pod, last, want) in [
            (Some("a"), Some("web-canary-1"), 9, 3),
            (Some("b"), Some("web-canary-1"), 9, 5),
            (None, Some("web-canary-"), 1, 5),
            (None, Some("web-canary"), 1, DEFAULT_WEIGHT),
            (Some("A"), Some("my-web-canary-1"), 9, 7),
            (None, None, 9, 7),
            (None, None, 1, DEFAULT_WEIGHT),
        ] {
            let endpoint = Endpoint {
                address: [10, 0, 0, last].into(),
                ready: true,
                serving: true,
                terminating: false,
                place: Place { node: None, zone: zone.map(Into::into) }.into(),
                pod: pod.map(Into::into),
                hints: None,
            };
            assert_eq!(of(&rules, &endpoint), want, "{endpoint:?}");
        }
    }
}
