//! What connections from outside of the node need (`--outside-traffic`).

use super::{ok, warn};
use crate::{
    doctor::{
        Finding,
        facts::{Facts, Outside},
    },
    nat::chains::Chain,
};

const WITHOUT: &str = "connections from outside can't be balanced (--outside-traffic)";

pub(super) fn devices(facts: &Facts) -> Finding {
    let check = "outside-devices";
    let Outside { uplinks, attached, .. } = &facts.outside;
    if attached.is_empty() {
        return ok(
            check,
            "no program is on a device: connections from outside are left to kube-proxy, unless an \
             agent runs with --outside-traffic",
        );
    }
    let on = attached.join(", ");
    let uplinks = match uplinks {
        Ok(uplinks) => uplinks,
        Err(why) => {
            return warn(
                check,
                format!("programs are on {on}; the kernel does not tell its routes: {why}"),
                "run doctor as root, and in the network namespace of the node",
            );
        }
    };
    let missing: Vec<_> =
        uplinks.iter().filter(|device| !attached.contains(device)).map(String::as_str).collect();
    if missing.is_empty() {
        return ok(check, format!("programs for connections from outside are on {on}"));
    }
    warn(
        check,
        format!(
            "programs are on {on}, and not on {}, which has a default route",
            missing.join(", ")
        ),
        "`status` of the running agent says why; where none runs, start it",
    )
}

pub(super) fn rules(facts: &Facts) -> Finding {
    let check = "nf-tables";
    match &facts.outside.chains {
        None => ok(check, "not asked: it is not loaded, and no program is on a device"),
        Some(Err(why)) => warn(
            check,
            format!("{why}: {WITHOUT}"),
            "load the module nf_tables, and run doctor as root",
        ),
        Some(Ok(chains)) if chains.iter().any(Chain::is_ours) => {
            ok(check, "the rules for connections from outside are there (table balancer)")
        }
        Some(Ok(_)) if !facts.outside.attached.is_empty() => warn(
            check,
            "programs choose for connections from outside, and no rule leads these there",
            "start the agent, which puts the rules back, or run `balancer-agent cleanup`",
        ),
        Some(Ok(_)) => ok(check, "answers; there are no rules for connections from outside"),
    }
}

pub(super) fn tracking(facts: &Facts) -> Finding {
    let check = "outside-conntrack";
    match &facts.outside.tracking {
        None => ok(check, "not asked: no program is on a device"),
        Some(Ok(())) => ok(check, "connection tracking can be asked for connections from outside"),
        Some(Err(why)) => warn(
            check,
            format!("{why}: connections from outside that end without a packet stay counted"),
            "load the module nf_conntrack_netlink, and run doctor as root",
        ),
    }
}

pub(super) fn others(facts: &Facts) -> Finding {
    let check = "outside-nat";
    let chains = facts.outside.chains.iter().flatten().flatten();
    let mut first: Vec<_> = chains
        .filter(|chain| chain.translates_first())
        .map(|chain| format!("{} of table {}", chain.name, chain.table))
        .collect();
    first.sort();
    if facts.outside.attached.is_empty() || first.is_empty() {
        return ok(check, "no table of nf_tables translates addresses before that of balancer");
    }
    warn(
        check,
        format!(
            "other chains translate addresses before those of balancer: {}; what they translate is \
             counted where balancer chose it, and goes elsewhere",
            first.join(", ")
        ),
        "give them a priority of -100 or more, or keep the addresses of Services out of them",
    )
}
