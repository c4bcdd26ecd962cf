//! The Kubernetes API, converted once, at the edge. The stages in their order:
//!
//! - `access`: where the API server is and who the agent is there.
//! - `requests`: counts what it is asked.
//! - `kinds`: what is watched, and which objects of it.
//! - `feed`: one task a kind: lists, watches, resumes, starts over; all the I/O there is.
//! - `trouble`, `backoff`: what an error means, and when to ask again (pure).
//! - `decode`: the text of an object to the types of [`crate::model`], by the same converters as
//!   the folder's (pure).
//! - `store`: what the feeds tell to one [`State`](crate::model::State) (pure).
//! - [`Cluster`]: the receiving end.
//!
//! Why the watches are written here, on the client of kube-rs, and not its `watcher`: a line that
//! is no JSON makes a feed resume before it instead of reading on past a change; refused
//! credentials are read again without listing everything anew; a server that ends every stream at
//! once is not asked again at once; and servers without streaming lists are told from others.

mod access;
mod backoff;
mod cluster;
mod decode;
mod events;
mod feed;
mod kinds;
mod names;
mod requests;
mod store;
mod trouble;

pub use access::{Access, AccessError};
pub use cluster::Cluster;
pub use requests::Requests;
