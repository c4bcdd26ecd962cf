//! The argument that names a Service.

use std::str::FromStr;

use anyhow::anyhow;
use clap::builder::NonEmptyStringValueParser;
use clap_complete::ArgValueCompleter;

use super::{
    complete,
    exit::{Exit, Failure},
    inspect::Place,
};
use crate::{
    model::{ObjectRef, nearest},
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

/// How every verb names a Service.
#[derive(Debug, clap::Args)]
pub(super) struct Named {
    /// The Service, as NAMESPACE/NAME; NAME alone is in the namespace of -n, else in default
    #[arg(value_name = "SERVICE", conflicts_with = "service", add = ArgValueCompleter::new(complete::services))]
    named: Option<ServiceArg>,

    /// The same
    #[arg(long, value_name = "SERVICE", add = ArgValueCompleter::new(complete::services))]
    service: Option<ServiceArg>,
}

/// Names of the arguments of [`Named`], for verbs that need one of them.
pub(super) const NAMED: [&str; 2] = ["named", "service"];

impl Named {
    /// The Service, where one is named.
    pub(super) fn get(&self) -> Option<&ServiceArg> {
        self.named.as_ref().or(self.service.as_ref())
    }
}

/// The namespace that a verb is about.
#[derive(Debug, clap::Args)]
pub(super) struct Within {
    /// Only what is in this namespace, which is also that of a NAME alone
    #[arg(short, long, value_name = "NAMESPACE", value_parser = NonEmptyStringValueParser::new(), add = ArgValueCompleter::new(complete::namespaces))]
    namespace: Option<String>,
}

impl Within {
    /// The namespace, where one is given.
    pub(super) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The Service with its namespace. Fails where another namespace is given than its own.
    pub(super) fn service(&self, named: &Named) -> Result<Option<ServiceArg>, Failure> {
        let Some(found) = named.get().map(|service| service.within(self.namespace())) else {
            return Ok(None);
        };
        match self.namespace() {
            Some(given) if given != found.namespace() => Err(Failure::new(
                Exit::Usage,
                anyhow!(
                    "{}/{} is not in the namespace {given}: leave one of both out",
                    found.namespace(),
                    found.name()
                ),
            )),
            _ => Ok(Some(found)),
        }
    }
}

/// The ports of the Service, or of all Services, sorted; beside them what is to be said where the agent
/// does not answer.
pub(super) fn looked(
    place: &Place,
    service: Option<&ServiceArg>,
) -> Result<(Vec<ServiceView>, Option<String>), Failure> {
    let (mut all, away) = place.look(&ServicesQuestion {}, Offline::services)?;
    sort(&mut all);
    let found = match service {
        None => all,
        Some(wanted) => {
            pick(all, &wanted.object()).map_err(|why| Failure::new(Exit::Failed, anyhow!(why)))?
        }
    };
    Ok((found, away))
}

/// Fails where nothing of a Service is balanced, with the names that could have been meant.
pub(super) fn known(place: &Place, service: &ServiceArg) -> Result<(), Failure> {
    looked(place, Some(service)).map(drop)
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
    let known =
        others.into_iter().map(|found| ObjectRef { namespace: found.namespace, name: found.name });
    let hint = nearest::object(wanted, known, "`balancer-agent services` lists those that are");
    Err(format!("Service {wanted} is not balanced on this node; {hint}"))
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
