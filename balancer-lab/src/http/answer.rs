//! What a backend says of itself, in the body of its answers and in their headers.

use serde::{Deserialize, Serialize};

/// The header with the name of the backend.
pub(super) const BACKEND: &str = "x-backend";
/// The header with the number of the connection.
pub(super) const CONNECTION: &str = "x-connection";

/// What a backend answers.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Answer {
    /// The backend's name.
    pub backend: String,
    /// The number of the connection, counted from 1 as the backend accepted them.
    pub connection: u64,
}
