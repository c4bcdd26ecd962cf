//! What a source gives.

use super::object::Kind;
use crate::model::{Problem, State};

/// What a source gives.
#[derive(Debug)]
pub enum Update<'a> {
    /// Everything it knows; it differs from the state before.
    State(&'a State),
    /// There is no first state yet: what is in the way, and the kinds that are still missing.
    Waiting(&'a [Problem], Vec<Kind>),
}
