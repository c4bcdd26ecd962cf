//! The source of the agent against a double of the API server: what it tells, and what it makes of
//! everything that goes wrong on the way.

#[path = "kube/basic.rs"]
mod basic;
#[path = "kube/events.rs"]
mod events;
#[path = "kube/faults.rs"]
mod faults;
#[path = "kube/lists.rs"]
mod lists;
#[path = "kube/real.rs"]
mod real;
#[path = "kube/watching.rs"]
mod watching;
