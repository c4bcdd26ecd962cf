//! Protocols whose servers are libraries, too.

use crate::harness::Cluster;

#[test]
fn http2_connections_are_even() {
    Cluster::of_program("http2", 8080).assert_even("http2", 6, 20);
}

#[test]
fn grpc_channels_are_even() {
    Cluster::of_program("grpc", 50051).assert_even("grpc", 6, 20);
}

#[test]
fn websockets_are_even() {
    Cluster::of_program("websocket", 8080).assert_even("websocket", 6, 20);
}

#[test]
fn rsocket_connections_are_even() {
    Cluster::of_program("rsocket", 7878).assert_even("rsocket", 6, 20);
}
