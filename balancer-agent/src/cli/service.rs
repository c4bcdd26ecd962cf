//! The argument that names a Service.

use std::{collections::BTreeSet, str::FromStr};

use anyhow::anyhow;

use super::{
    exit::{Exit, Failure},
    inspect::Where,
};
use crate::{
    model::ObjectRef,
    observe::Offline,
    view::{ServiceView, ServicesQuestion},
};

/// `NAMESPACE/NAME`, or `NAME` in the namespace default unless another is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServiceArg {
    namespace: Option<String>,
    name: String,
}

impl FromStr for ServiceArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (namespace, name) = match text.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, text),
        };
        if namespace == Some("") || name.is_empty() || name.contains('/') {
            return Err("give NAMESPACE/NAME, or NAME for one in the namespace default");
        }
        Ok(Self { namespace: namespace.map(Into::into), name: name.into() })
    }
}

impl ServiceArg {
    pub(super) fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The same; NAME alone is in this namespace, where one is given.
    pub(super) fn within(&self, namespace: Option<&str>) -> Self {
        let own = self.namespace.clone();
        Self { namespace: own.or_else(|| namespace.map(Into::into)), name: self.name.clone() }
    }

    fn object(&self) -> ObjectRef {
        ObjectRef { namespace: self.namespace().into(), name: self.name.clone() }
    }
}

/// The ports of the Service, or of all Services, sorted.
pub(super) fn chosen(
    place: &Where,
    service: Option<&ServiceArg>,
) -> Result<Vec<ServiceView>, Failure> {
    let mut all = place.ask(&ServicesQuestion {}, Offline::services)?;
    sort(&mut all);
    match service {
        None => Ok(all),
        Some(wanted) => {
            pick(all, &wanted.object()).map_err(|why| Failure::new(Exit::Failed, anyhow!(why)))
        }
    }
}

/// Fails where nothing of a Service is balanced, with the names that could have been meant.
pub(super) fn known(place: &Where, service: &ServiceArg) -> Result<(), Failure> {
    chosen(place, Some(service)).map(drop)
}

fn sort(services: &mut [ServiceView]) {
    let key =
        |s: &ServiceView| (s.namespace.clone(), s.name.clone(), s.port.number, s.port.protocol);
    services.sort_by_cached_key(key);
    for service in services {
        service.frontends.sort();
        service.backends.sort_by_key(|backend| (backend.address, backend.port));
    }
}

fn pick(all: Vec<ServiceView>, wanted: &ObjectRef) -> Result<Vec<ServiceView>, String> {
    let (found, others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|s| s.namespace == wanted.namespace && s.name == wanted.name);
    if !found.is_empty() {
        return Ok(found);
    }
    let close = close(&others, wanted);
    let hint = match close.is_empty() {
        true => "`balancer-agent services` lists those that are".to_owned(),
        false => format!("did you mean {}?", close.join(" or ")),
    };
    Err(format!("Service {wanted} is not balanced on this node; {hint}"))
}

/// At most three names that could have been meant: a slip of some letters, or another namespace.
fn close(others: &[ServiceView], wanted: &ObjectRef) -> Vec<String> {
    let names: BTreeSet<_> = others.iter().map(|s| (&s.namespace, &s.name)).collect();
    let mut slips: Vec<_> = names
        .into_iter()
        .map(|(namespace, name)| {
            let letters = strsim::damerau_levenshtein(name, &wanted.name);
            (letters, *namespace != wanted.namespace, format!("{namespace}/{name}"))
        })
        .filter(|(letters, ..)| *letters <= 1 + wanted.name.len() / 4)
        .collect();
    slips.sort();
    slips.into_iter().take(3).map(|(.., name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn wanted(text: &str) -> ObjectRef {
        text.parse::<ServiceArg>().expect(text).object()
    }

    #[test]
    fn the_namespace_defaults_to_default() {
        assert_eq!(wanted("cart").to_string(), "default/cart");
        assert_eq!(wanted("shop/cart").to_string(), "shop/cart");
        let within = |text: &str| {
            text.parse::<ServiceArg>().expect(text).within(Some("shop")).object().to_string()
        };
        assert_eq!((within("cart"), within("a/b")), ("shop/cart".into(), "a/b".into()));
        for bad in ["", "/", "shop/", "/cart", "a/b/c"] {
            assert!(bad.parse::<ServiceArg>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn every_port_of_the_service_is_picked() {
        let picked = pick(testing::services(), &wanted("shop/cart")).expect("a Service");
        let ports: Vec<_> = picked.iter().map(|service| service.port.number).collect();
        assert_eq!(ports, [80, 9000]);
    }

    #[test]
    fn an_unknown_name_gets_close_ones() {
        for (name, want) in [
            ("cart", "did you mean shop/cart?"),
            ("shop/crat", "did you mean shop/cart?"),
            ("serch", "did you mean default/search?"),
            ("zzz/qqq", "`balancer-agent services` lists those that are"),
        ] {
            let error = pick(testing::services(), &wanted(name)).expect_err(name);
            assert!(error.ends_with(want), "{error:?} does not end with {want:?}");
        }
    }

    #[test]
    fn the_order_does_not_depend_on_the_agent() {
        let mut services = testing::services();
        services.reverse();
        sort(&mut services);
        let names: Vec<_> = services.iter().map(|s| (s.name.as_str(), s.port.number)).collect();
        assert_eq!(names, [("search", 443), ("cart", 80), ("cart", 9000)]);
    }
}
