//! Connections opened and closed at random, for tests of counting.
//!
//! [`Churn`] is a process in a pod: told to make so many steps, it opens, closes and is refused in a
//! random order from several threads, says what it has open, and holds still until told again. It
//! may be killed at any time.

mod process;
mod steps;

pub use process::{Churn, ChurnOptions};
pub use steps::{Count, Steps};
