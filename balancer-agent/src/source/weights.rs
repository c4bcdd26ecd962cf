//! The annotation `balancer-agent/weights`: `zone/eu-1a=3, pod/web-canary-=1, address/10.1.2.3=2`.

use std::collections::BTreeSet;

use balancer_common::policy::MAX_WEIGHT;

use super::{
    address::address,
    object::{Fault, Faults},
};
use crate::{
    model::{Selector, WeightRule},
    settings::quoted,
};

/// Rules of a Service that count: each endpoint is compared with each of them.
const MOST: usize = 256;

/// The rules in their order, [`MOST`] at most. One that can't be used is told and left out; the others
/// stand.
pub fn weights(field: &str, value: &str, faults: &mut Faults) -> Vec<WeightRule> {
    let mut seen = BTreeSet::new();
    let mut rules = Vec::new();
    let mut texts = value.split(',').map(str::trim);
    for text in texts.by_ref() {
        if rules.len() == MOST {
            let more = texts.count() + 1;
            let message = format!(
                "only the first {MOST} rules count: {more} more have no effect; say it in fewer, by \
                 zone or by the beginning of a pod's name"
            );
            faults.push(Fault::new(field, message));
            break;
        }
        let rule = rule(text).and_then(|rule| match seen.insert(rule.selector.clone()) {
            true => Ok(rule),
            false => Err("comes after another weight for the same, which counts"),
        });
        match rule {
            Ok(rule) => rules.push(rule),
            Err(wrong) => faults.push_with(|| {
                Fault::new(
                    field,
                    format!(
                        "{text} {wrong}: this rule is ignored, the others stand; write rules such \
                     as zone/eu-1a=3, pod/web-canary-=1, address/10.1.2.3=2",
                        text = quoted(text)
                    ),
                )
            }),
        }
    }
    rules
}

fn rule(text: &str) -> Result<WeightRule, &'static str> {
    const SHAPE: &str = "is no rule";
    let (selector, weight) = text.split_once('=').ok_or(SHAPE)?;
    let (kind, name) = selector.trim().split_once('/').ok_or(SHAPE)?;
    let selector = match kind {
        _ if name.is_empty() => return Err("names nothing"),
        "zone" => Selector::Zone(name.to_owned()),
        "pod" => Selector::PodPrefix(name.to_owned()),
        "address" => Selector::Address(address(name).ok_or("names no IP address")?),
        _ => return Err("is about neither a zone, nor a pod, nor an address"),
    };
    let weight = weight.trim().parse().ok().filter(|weight| (1..=MAX_WEIGHT).contains(weight));
    let weight = weight.ok_or("has no weight that is a whole number from 1 to 1000")?;
    Ok(WeightRule { selector, weight })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_stand_in_their_order() {
        let mut faults = Faults::default();
        let text = " zone/eu-1a=3, pod/web-canary- = 1,address/10.1.2.3=2,address/fd00::1=1000";
        let found = weights("f", text, &mut faults);
        let want = [
            (Selector::Zone("eu-1a".into()), 3),
            (Selector::PodPrefix("web-canary-".into()), 1),
            (Selector::Address([10, 1, 2, 3].into()), 2),
            (Selector::Address("fd00::1".parse().unwrap()), 1000),
        ];
        assert_eq!(found, want.map(|(selector, weight)| WeightRule { selector, weight }));
        assert_eq!(faults.count(), 0);
    }

    #[test]
    fn a_flood_of_rules_is_bounded() {
        let mut faults = Faults::default();
        let many: Vec<_> = (0..10_000).map(|n| format!("pod/web-{n}-=2")).collect();
        assert_eq!(weights("f", &many.join(","), &mut faults).len(), MOST);
        assert_eq!(faults.count(), 1);
        assert!(faults[0].message.contains("9744 more have no effect"), "{faults:?}");
        let mut faults = Faults::default();
        assert_eq!(weights("f", &"x,".repeat(120_000), &mut faults), []);
        assert_eq!((faults.len(), faults.count()), (Faults::MOST, 120_001));
    }

    #[test]
    fn a_bad_rule_is_told_and_the_others_stand() {
        for (bad, words) in [
            ("", "is no rule"),
            ("zone", "is no rule"),
            ("zone/a", "is no rule"),
            ("a=3", "is no rule"),
            ("zone/=3", "names nothing"),
            ("node/a=3", "neither a zone"),
            ("Zone/a=3", "neither a zone"),
            ("address/web=3", "names no IP address"),
            ("address/10.0.0.0/8=3", "names no IP address"),
            ("zone/a=0", "whole number from 1 to 1000"),
            ("zone/a=-1", "whole number"),
            ("zone/a=1.5", "whole number"),
            ("zone/a=1001", "whole number"),
            ("zone/a=99999999999999999999", "whole number"),
            ("zone/a=many", "whole number"),
            ("zone/a=", "whole number"),
            ("zone/b=7", "comes after another weight for the same"),
        ] {
            let mut faults = Faults::default();
            let found = weights("f", &format!("zone/b=2,{bad},zone/c=4"), &mut faults);
            let kept: Vec<_> = found.iter().map(|rule| rule.weight).collect();
            assert_eq!(kept, [2, 4], "{bad:?}");
            let [fault] = &faults[..] else { panic!("{bad:?}: {faults:?}") };
            assert!(fault.message.starts_with(&format!("{bad:?} ")), "{fault:?}");
            assert!(fault.message.contains(words), "{fault:?} lacks {words:?}");
        }
    }
}
