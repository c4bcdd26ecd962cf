//! What holds for whatever the parsers of this source are given.

use std::{collections::BTreeMap, time::Duration};

use balancer_common::policy::{MAX_WEIGHT, Policy};
use proptest::prelude::*;

use super::{
    address,
    annotations::tuning,
    decode::{Decoded, decode},
    document,
    object::Faults,
    parse,
    ranges::ranges,
    weights::weights,
};
use crate::{
    model::{Selector, WeightRule},
    settings::duration,
};

/// Text with more of what means something than chance would give.
fn yaml() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        prop::sample::select(vec![
            "---",
            "...",
            "\n",
            "  ",
            ": ",
            "- ",
            "{",
            "}",
            "[",
            "]",
            "\"",
            "'",
            "&a ",
            "*a",
            "|",
            ">",
            "<<: *a",
            "!!int ",
            "#",
            "\t",
            "kind: Service",
            "apiVersion: v1",
            "kind: List",
            "items:",
            "metadata:",
            "name: web",
            "spec:",
            "ports:",
            "port: 80",
            "null",
            "\u{feff}",
        ])
        .prop_map(str::to_owned),
        "[ -~]{0,12}",
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat())
}

/// A rule of weights as somebody would write it.
fn rule() -> impl Strategy<Value = WeightRule> {
    let selector = prop_oneof![
        "[a-z0-9.-]{1,20}".prop_map(Selector::Zone),
        "[a-z0-9.-]{1,20}".prop_map(Selector::PodPrefix),
        any::<[u8; 4]>()
            .prop_filter("unicast", |ip| address::address(
                &std::net::Ipv4Addr::from(*ip).to_string()
            )
            .is_some())
            .prop_map(|ip| Selector::Address(ip.into())),
    ];
    (selector, 1..=MAX_WEIGHT).prop_map(|(selector, weight)| WeightRule { selector, weight })
}

proptest! {
    #[test]
    fn a_written_duration_is_read_back(seconds in 0..u64::MAX / 2, nanos in 0..1_000_000_000_u32) {
        let text = format!("{seconds}s{nanos}ns");
        prop_assert_eq!(duration::parse(&text), Some(Duration::new(seconds, nanos)));
    }

    #[test]
    fn no_text_is_too_odd_for_a_duration(text in "[0-9.+smhuµn ]{0,40}|.{0,40}") {
        // Whatever is read is no shorter for another second.
        if let Some(found) = duration::parse(&text)
            && let Some(longer) = duration::parse(&format!("{text}1s"))
            && text != "0"
        {
            prop_assert_eq!(longer, found + Duration::from_secs(1), "{}", text);
        }
    }

    #[test]
    fn annotations_are_in_range_or_told(
        policy in "[a-z-]{0,30}|.{0,20}",
        slow_start in "[0-9]{1,6}[smh]|.{0,20}",
        other in "[a-z-]{1,20}",
        value in ".{0,40}",
    ) {
        let annotations = BTreeMap::from([
            ("balancer-agent/policy".to_owned(), policy.clone()),
            ("balancer-agent/slow-start".to_owned(), slow_start),
            (format!("balancer-agent/x{other}"), value),
            ("example.org/other".to_owned(), other),
        ]);
        let mut faults = Faults::default();
        let found = tuning(Some(&annotations), &mut faults);
        prop_assert!(found.slow_start <= 3600, "{found:?}");
        prop_assert!(faults.iter().any(|fault| fault.field.contains("balancer-agent/x")));
        prop_assert!(!faults.iter().any(|fault| fault.field.contains("example.org")));
        if found.policy.name() != policy {
            prop_assert_eq!(found.policy, Policy::default());
            prop_assert!(faults.iter().any(|fault| fault.field.contains("policy")), "{faults:?}");
        }
    }

    #[test]
    fn written_weights_are_read_back(rules in prop::collection::vec(rule(), 1..12)) {
        let text: Vec<_> = rules.iter().map(|WeightRule { selector, weight }| match selector {
            Selector::Zone(zone) => format!("zone/{zone}={weight}"),
            Selector::PodPrefix(prefix) => format!("pod/{prefix}={weight}"),
            Selector::Address(ip) => format!("address/{ip}={weight}"),
        }).collect();
        let mut faults = Faults::default();
        let found = weights("f", &text.join(", "), &mut faults);
        // Of two about the same the first counts, and the other is told.
        prop_assert_eq!(found.len() + faults.count(), rules.len());
        prop_assert_eq!(found.first(), rules.first());
        prop_assert!(found.iter().all(|rule| rules.contains(rule)));
    }

    #[test]
    fn each_part_of_a_text_of_weights_is_a_rule_or_a_fault(text in "([a-z/=,0-9. ]{0,60})|(.{0,60})") {
        let mut faults = Faults::default();
        let found = weights("f", &text, &mut faults);
        prop_assert_eq!(found.len() + faults.count(), text.split(',').count());
        prop_assert!(found.iter().all(|rule| (1..=MAX_WEIGHT).contains(&rule.weight)));
    }

    #[test]
    fn ranges_that_can_not_be_read_never_admit_everybody(
        texts in prop::collection::vec("[0-9a-f:./]{0,20}|.{0,12}", 1..6),
    ) {
        let mut faults = Faults::default();
        let found = ranges(&texts, None, &mut faults);
        let written = texts.iter().any(|text| !text.trim().is_empty());
        prop_assert_eq!(found.is_empty(), !written, "{:?} of {:?}", found, texts);
    }

    #[test]
    fn documents_are_in_order_and_cut_nothing_in_two(text in yaml()) {
        let mut rest = text.as_str();
        for (index, found) in document::split(&text).into_iter().enumerate() {
            prop_assert_eq!(found.number, index + 1);
            let at = rest.find(found.text).expect("a part of what is left");
            rest = &rest[at + found.text.len()..];
            let before = &text[..text.len() - rest.len() - found.text.len()];
            prop_assert_eq!(before.matches('\n').count(), found.lines_before, "{:?}", found);
        }
    }

    #[test]
    fn whatever_a_document_holds_is_an_object_or_told(text in yaml()) {
        for found in document::split(&text) {
            let pieces = match parse::yaml(found.text) {
                Ok((pieces, _)) => pieces,
                Err(error) => {
                    let fault = parse::explain(&found, error);
                    prop_assert!(fault.message.contains("not YAML"), "{fault:?}");
                    continue;
                }
            };
            for value in pieces.into_iter().filter_map(|(_, value)| value.ok()) {
                if let Decoded::Defined(key, ..) = decode(value) {
                    prop_assert!(!key.id.name.is_empty());
                }
            }
        }
        for fault in parse::json(&text).into_iter().filter_map(Result::err) {
            prop_assert!(fault.message.contains("not JSON"), "{fault:?}");
        }
    }
}
