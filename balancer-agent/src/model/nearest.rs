//! Names that could have been meant where there is none of that name.

use std::collections::BTreeSet;

use super::ObjectRef;

/// Names that are offered at most.
const MOST: usize = 3;

/// "did you mean" with the nearest of the objects there are: a slip of some letters, or another
/// namespace. Where none is near, `else_hint`.
pub fn object(
    wanted: &ObjectRef,
    known: impl IntoIterator<Item = ObjectRef>,
    else_hint: &str,
) -> String {
    let near = |known: &ObjectRef| {
        let letters = strsim::damerau_levenshtein(&known.name, &wanted.name);
        let is_near = letters <= 1 + wanted.name.len() / 4;
        is_near.then_some((letters, known.namespace != wanted.namespace))
    };
    hint(known, near, else_hint)
}

/// The same for a backend, written as it was: a slip of a digit, or another port.
pub fn backend(
    wanted: &str,
    known: impl IntoIterator<Item = std::net::SocketAddr>,
    else_hint: &str,
) -> String {
    let near = |known: &std::net::SocketAddr| {
        let both = strsim::damerau_levenshtein(&known.to_string(), wanted);
        let alone = strsim::damerau_levenshtein(&known.ip().to_string(), wanted);
        let other_port = wanted
            .rsplit_once(':')
            .is_some_and(|(address, _)| address.trim_matches(['[', ']']) == known.ip().to_string());
        let letters = if other_port { 0 } else { both.min(alone) };
        (letters <= 1).then_some((letters, false))
    };
    hint(known, near, else_hint)
}

fn hint<T: ToString + Ord>(
    known: impl IntoIterator<Item = T>,
    near: impl Fn(&T) -> Option<(usize, bool)>,
    else_hint: &str,
) -> String {
    let known: BTreeSet<T> = known.into_iter().collect();
    let mut found: Vec<_> = known.iter().filter_map(|one| Some((near(one)?, one))).collect();
    found.sort();
    let names: Vec<_> = found.into_iter().take(MOST).map(|(_, one)| one.to_string()).collect();
    match names.is_empty() {
        true => else_hint.to_owned(),
        false => format!("did you mean {}?", names.join(" or ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_and_other_namespaces_are_offered_the_nearest_first() {
        let known = ["shop/cart", "shop/card", "ops/cart", "shop/search", "a/cart", "b/cart"];
        let of = |text: &str| {
            let (namespace, name) = text.split_once('/').unwrap();
            ObjectRef { namespace: namespace.into(), name: name.into() }
        };
        let hint = |wanted: &str| object(&of(wanted), known.map(of), "none");
        assert_eq!(hint("shop/carr"), "did you mean shop/card or shop/cart or a/cart?");
        assert_eq!(hint("x/search"), "did you mean shop/search?");
        assert_eq!(hint("shop/database"), "none");
    }

    #[test]
    fn of_backends_a_digit_or_the_port_may_be_another() {
        let known = ["10.0.0.1:80", "10.0.0.12:8080", "[fd00::1]:80"].map(|a| a.parse().unwrap());
        for (wanted, want) in [
            ("10.0.0.2", "did you mean 10.0.0.1:80 or 10.0.0.12:8080?"),
            ("10.0.0.12:80", "did you mean 10.0.0.12:8080 or 10.0.0.1:80?"),
            ("[fd00::1]:8080", "did you mean [fd00::1]:80?"),
            ("192.0.2.7", "none"),
        ] {
            assert_eq!(backend(wanted, known, "none"), want, "{wanted}");
        }
    }
}
