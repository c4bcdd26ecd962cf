//! What an agent is asked.

use serde::{Serialize, de::DeserializeOwned};

/// A question to an agent and the type of its answer. The API, its client and every double of an agent
/// follow from it.
pub trait Question: Serialize + DeserializeOwned + Send + 'static {
    /// Path in the API. A path has one question that reads at most, and one that changes something.
    const PATH: &'static str;
    /// False: the question is the query of a `GET`. True: it changes something and is the body of a
    /// `POST`, as JSON.
    const CHANGES: bool = false;
    /// What is answered, as JSON.
    type Answer: Serialize + DeserializeOwned + Send + 'static;
}

/// A question to which the answer never ends: lines, as things happen, until one side has had
/// enough.
pub trait Stream: Serialize + DeserializeOwned + Send + 'static {
    /// Path in the API, where it is the query of a `GET`.
    const PATH: &'static str;
    /// One line, as JSON.
    type Line: Serialize + DeserializeOwned + Send + 'static;
}
