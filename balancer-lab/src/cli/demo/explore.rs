//! How to go on after the demo.

use std::fmt::Write;

use anyhow::Result;
use balancer_lab::{Agent, Lab};

use super::manifest::Web;

/// After a demo that removed everything.
pub(super) fn gone() -> String {
    "To explore further:\n\
     \n  \
     cargo xtask demo --keep                  leave the lab up, with clients that keep sending\n  \
     cargo xtask demo --scenario shared-20    run one scenario\n  \
     cargo xtask demo --output json           the figures for a program\n  \
     cargo xtask bench                        what a connection costs, beside iptables and nftables\n"
        .to_owned()
}

/// After a demo that left the balancer's lab up.
pub(super) fn kept(agent: &Agent, lab: &Lab, web: &Web) -> Result<String> {
    let tool = agent.binary().display();
    let own = std::env::current_exe()?.display().to_string();
    let flags = agent.where_flags().join(" ");
    let (uri, id, service) = (web.uri()?, lab.id(), &web.name);
    let state = lab.state_dir().display();
    let mut text = String::from("The lab is up, with 21 connections from 7 pods:\n\n");
    for command in [
        format!("{tool} top {flags}"),
        format!("{tool} backends {service} -o wide {flags}"),
        format!("{own} exec --lab {id} --pod client-1 -- curl -s {uri}"),
        format!("ls {state}/manifests        # edit the YAML; the agent applies it at once"),
        format!("tail -f {state}/agent.log"),
        format!("{own} sweep --kept        # removes the lab"),
    ] {
        let _ = writeln!(text, "  {command}");
    }
    Ok(text)
}
