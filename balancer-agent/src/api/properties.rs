//! What holds for whatever comes over the socket.

use std::time::Duration;

use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    runtime::Runtime,
    sync::watch,
    time::timeout,
};

use super::*;
use crate::{testing, view::StatusQuestion};

/// Longer than a head may take, shorter than a test should.
const PATIENCE: Duration = Duration::from_secs(8);

/// Bytes that begin like a request or an answer more often than chance would have it.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        prop::sample::select(vec![
            "GET ",
            "POST ",
            "/v1/status",
            "/v1/services",
            " HTTP/1.1\r\n",
            " HTTP/1.0\r\n",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 500 x\r\n",
            "Host: a\r\n",
            "Content-Length: 5\r\n",
            "Content-Length: 99999999999\r\n",
            "Transfer-Encoding: chunked\r\n",
            "\r\n",
            "ffffffff\r\n",
            "{\"agent\":",
            "[]",
            "\0",
            ":",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    prop::collection::vec(token, 0..20).prop_map(|tokens| tokens.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_server_answers_or_hangs_up_and_goes_on(request in bytes()) {
        Runtime::new().expect("a runtime").block_on(async {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let path = folder.path().join("agent.sock");
            let (_stop, stopped) = watch::channel(false);
            tokio::spawn(serve(bind(&path).expect("a socket"), testing::answers(), stopped));
            let mut stream = UnixStream::connect(&path).await.expect("a connection");
            // The server may hang up before it has read everything.
            let _written = stream.write_all(&request).await;
            let _closed = stream.shutdown().await;
            let mut answer = Vec::new();
            let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
            assert!(read.is_ok(), "neither an answer nor an end");
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{answer:?}");
            let status = Client::new(&path).ask(&StatusQuestion {}).await.expect("the next one is served");
            assert_eq!(status, testing::status());
        });
    }

    #[test]
    fn a_client_is_never_led_astray_by_an_answer(answer in bytes()) {
        Runtime::new().expect("a runtime").block_on(async {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let path = folder.path().join("agent.sock");
            let listener = UnixListener::bind(&path).expect("a socket");
            let server = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut request = [0; 1024];
                let _read = stream.read(&mut request).await;
                let _written = stream.write_all(&answer).await;
            });
            let asked = timeout(PATIENCE, Client::new(&path).ask(&StatusQuestion {})).await;
            let error = asked.expect("an end").expect_err("no such status").to_string();
            assert!(error.contains("agent.sock"), "{error}");
            server.await.expect("an orderly end");
        });
    }
}
