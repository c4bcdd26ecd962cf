//! Clients that keep their connections.

use std::time::Duration;

use balancer_lab::http::{Client, LoadOptions, Pools, Until};

use super::{VIP, Web};

/// A client of so many threads, each with a connection of its own and a request now and then.
pub fn pools(web: &Web, threads: usize, until: Duration) -> Client {
    let uri = format!("http://{VIP}/").parse().expect("uri");
    let mut options = LoadOptions::new(uri, threads, Pools::PerThread, Until::Elapsed(until));
    options.pace = Duration::from_millis(150);
    let mut client = Client::start(web.client.place(), &options).expect("client");
    client.go().expect("started");
    client
}
