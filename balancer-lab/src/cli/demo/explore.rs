//! How to go on after the demo.

use std::fmt::Write;

use anyhow::Result;
use balancer_lab::Lab;

use super::manifest::Web;

/// After a demo that removed everything.
pub(super) fn gone() -> String {
    "To explore further:\n\
     \n  \
     cargo xtask demo --keep                  leave the lab up, with clients that keep sending\n  \
     cargo xtask demo --scenario nodes-7x3    clients on seven nodes\n  \
     cargo xtask demo --scenario shared-20    run one scenario\n  \
     cargo xtask demo --scenario rollout      pods restart one by one: where connections pile up\n  \
     cargo xtask demo --scenario scale-out    pods join: who gets connections\n  \
     cargo xtask demo --output json           the figures for a program\n  \
     cargo xtask bench                        what a connection costs, beside iptables and nftables\n"
        .to_owned()
}

/// After a demo that left the balancer's lab up.
pub(super) fn kept(lab: &Lab, web: &Web) -> Result<String> {
    let own = std::env::current_exe()?;
    let here = std::env::current_dir()?;
    let own = own.strip_prefix(here).unwrap_or(&own).display();
    let (uri, id, state) = (web.uri()?, lab.id(), lab.state_dir().display());
    let mut text = String::from("The lab is up; its 7 client pods keep 21 connections busy:\n\n");
    for (command, what) in [
        (format!("{own} agent --lab {id} backends"), "connections per backend"),
        (format!("{own} agent --lab {id} status"), "agent, programs, maps"),
        (format!("{own} exec --lab {id} --pod client-1 -- curl -s {uri}"), "one more client"),
        (format!("ls {state}/manifests"), "edit the YAML: it applies at once"),
        (format!("tail -f {state}/agent.log"), "what the agent does about it"),
        (format!("{own} sweep --kept"), "remove the lab"),
    ] {
        let _ = writeln!(text, "  {command}\n      {what}");
    }
    Ok(text)
}
