//! A folder of Kubernetes YAML as the agent reads it: what it gives, and what happens to it over
//! time. The folders of `manifests/cases` hold a case each, with what they give in `want.txt`;
//! run with `BLESS=1` to write those files anew, and review the difference.

#![forbid(unsafe_code)]

#[path = "manifests/golden.rs"]
mod golden;
#[path = "manifests/harness.rs"]
mod harness;
#[path = "manifests/mutation.rs"]
mod mutation;
#[path = "manifests/trouble.rs"]
mod trouble;
#[path = "manifests/watching.rs"]
mod watching;
