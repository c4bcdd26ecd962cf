//! Settings as people write them, in annotations and in the configuration: what they mean, and what
//! is said of one that means nothing.

pub mod duration;
pub mod moving;
mod quoted;

pub use quoted::quoted;
