//! The source of the agent against a double of the API server: what it tells, and what it makes of
//! everything that goes wrong on the way.

mod basic;
mod events;
mod faults;
mod lists;
mod real;
mod watching;
