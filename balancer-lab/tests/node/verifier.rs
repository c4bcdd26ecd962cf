//! What the programs cost this kernel's verifier.

use std::collections::BTreeMap;

use crate::common::Web;
use aya::programs::loaded_programs;

/// A tenth of what the verifier would look at before it gives up: newer kernels follow other ways
/// through the same program, and must not come to refuse it.
pub const MOST: u32 = 100_000;

#[test]
fn no_program_comes_near_the_limit_of_the_verifier() {
    let web = Web::start("verifier", 1);
    let status = web.agent.json(&["status"]).expect("status");
    let programs = status["programs"].as_array().expect("programs");
    let named: BTreeMap<_, _> = programs
        .iter()
        .map(|program| {
            let name = program["name"].as_str().expect("a name");
            let id = program["id"].as_u64();
            (id.unwrap_or_else(|| panic!("{name} is not attached: {status:#}")), name)
        })
        .collect();
    // Those of others may be gone while they are listed.
    let loaded = loaded_programs().filter_map(Result::ok);
    let verified: BTreeMap<_, _> = loaded
        .filter_map(|info| {
            let name = named.get(&u64::from(info.id()))?;
            // Not told before Linux 5.16.
            Some((*name, info.verified_instruction_count().unwrap_or(0)))
        })
        .collect();
    assert_eq!(verified.len(), named.len(), "{verified:?} of {named:?}");
    // Read by `cargo xtask kernels`.
    for (name, count) in &verified {
        println!("verified {name} {count}");
    }
    for (name, count) in verified {
        assert!(count <= MOST, "{count} instructions of {name} were verified, {MOST} is the most");
    }
}
