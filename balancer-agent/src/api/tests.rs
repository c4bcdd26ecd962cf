use std::{
    fs::{self, Permissions},
    ops::ControlFlow,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::watch,
};

use super::*;
use crate::{
    testing,
    view::{
        DrainsQuestion, DroppedView, RebalanceRequest, ServicesQuestion, StatusQuestion,
        StatusView, TraceQuestion, TraceView, Wanted,
    },
};

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = folder.path().join("made/agent.sock");
    (folder, socket)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("metadata").permissions().mode() & 0o777
}

#[tokio::test]
async fn a_client_reads_what_the_provider_shows() {
    let (_folder, path) = place();
    let (stop, stopped) = watch::channel(false);
    let server = tokio::spawn(serve(bind(&path).expect("a socket"), testing::answers(), stopped));
    let client = Client::new(&path);
    assert_eq!(client.ask(&StatusQuestion {}).await.expect("a status"), testing::status());
    assert_eq!(client.ask(&ServicesQuestion {}).await.expect("services"), testing::services());

    stop.send(true).expect("a server that listens");
    server.await.expect("an orderly end");
    assert!(!path.exists(), "the socket is left behind");
    let error = client.ask(&StatusQuestion {}).await.expect_err("no agent").to_string();
    assert!(error.starts_with("agent not reachable at"), "{error}");
}

#[tokio::test]
async fn what_can_not_be_read_is_no_empty_answer() {
    let (_folder, path) = place();
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(serve(bind(&path).expect("a socket"), testing::blind(), stopped));
    let client = Client::new(&path);
    let why = "the maps can't be read: map NAMES: read: Operation not permitted";
    let request = RebalanceRequest {
        namespace: "shop".into(),
        service: "cart".into(),
        dry_run: true,
        node: false,
    };
    for error in [
        client.ask(&ServicesQuestion {}).await.expect_err("no services"),
        client.ask(&Wanted::default()).await.expect_err("no connections"),
        client.ask(&request).await.expect_err("no moves"),
    ] {
        assert!(matches!(error, ClientError::Failed { .. }), "{error:?}");
        assert!(error.to_string().contains(why), "{error}");
    }
    let status = client.ask(&StatusQuestion {}).await.expect("what else is known");
    assert!(status.connections.is_none() && !status.is_whole(), "{status:?}");
}

#[tokio::test]
async fn what_is_refused_says_what_would_be_granted() {
    let (_folder, path) = place();
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(serve(bind(&path).expect("a socket"), testing::answers(), stopped));
    let request = RebalanceRequest {
        namespace: "shop".into(),
        service: "none".into(),
        dry_run: true,
        node: false,
    };
    let error = Client::new(&path).ask(&request).await.expect_err("no such Service");
    assert!(matches!(error, ClientError::Refused { .. }), "{error:?}");
    assert!(error.to_string().starts_with("Service shop/none is not balanced"), "{error}");
}

#[tokio::test]
async fn an_agent_of_another_version_is_told_apart() {
    let (_folder, path) = place();
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(serve(bind(&path).expect("a socket"), testing::answers(), stopped));
    let error = Client::new(&path).ask(&DrainsQuestion {}).await.expect_err("no such question");
    assert!(error.to_string().contains("does not know /v1/drain: it is of another version"));
}

#[tokio::test]
async fn only_one_agent_gets_the_socket_and_only_its_user() {
    let (_folder, path) = place();
    let socket = bind(&path).expect("a socket");
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().expect("a parent")), 0o700);
    let error = bind(&path).expect_err("a second agent").to_string();
    let pid = std::process::id();
    assert!(error.starts_with(&format!("another agent is running (pid {pid})")), "{error}");
    drop(socket);
    bind(&path).expect("a free socket");
}

#[tokio::test]
async fn what_a_dead_agent_left_is_replaced_and_other_things_are_not() {
    let (_folder, path) = place();
    fs::create_dir(path.parent().expect("a parent")).expect("a folder");
    // Closing a listener leaves its file, as a crash does.
    drop(UnixListener::bind(&path).expect("a socket"));
    assert!(path.exists());
    drop(bind(&path).expect("the socket of a dead agent is replaced"));

    fs::write(&path, "precious").expect("a file");
    let error = bind(&path).expect_err("a file in the way");
    assert!(matches!(error, BindError::NotASocket { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).expect("the file"), "precious");
}

#[tokio::test]
async fn a_folder_that_others_may_write_is_refused() {
    let (_folder, path) = place();
    let parent = path.parent().expect("a parent");
    fs::create_dir(parent).expect("a folder");
    for (mode, is_taken) in [(0o777, false), (0o775, false), (0o1777, true), (0o755, true)] {
        fs::set_permissions(parent, Permissions::from_mode(mode)).expect("changed");
        match bind(&path) {
            Ok(_) => assert!(is_taken, "{mode:o}"),
            Err(BindError::Folder { mode: told, .. }) => {
                assert_eq!((told, is_taken), (mode, false));
            }
            Err(other) => panic!("{mode:o}: {other}"),
        }
    }
}

#[tokio::test]
async fn garbage_gets_an_error_and_does_not_stop_the_server() {
    let (_folder, path) = place();
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(serve(bind(&path).expect("a socket"), testing::answers(), stopped));
    for request in [
        "GET /v1/nothing HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "POST /v1/status HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "nonsense\r\n\r\n".to_owned(),
        format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(64 * 1024)),
    ] {
        let mut stream = UnixStream::connect(&path).await.expect("a connection");
        // The server may hang up before it has read everything.
        let _written = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _read = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert_eq!(
        Client::new(&path).ask(&StatusQuestion {}).await.expect("a status"),
        testing::status()
    );
}

#[test]
fn fields_of_a_newer_agent_are_ignored() {
    let mut value = serde_json::to_value(testing::status()).expect("JSON");
    value["from_the_future"] = 1.into();
    let status: StatusView = serde_json::from_value(value).expect("a status");
    assert_eq!(status, testing::status());
}

/// A line each six seconds. Others can wait until it is dropped.
struct Slowly {
    left: u64,
    _alive: Receiver<()>,
}

impl Lines for Slowly {
    type Line = TraceView;

    async fn next(&mut self) -> Option<TraceView> {
        self.left = self.left.checked_sub(1)?;
        tokio::time::sleep(Duration::from_secs(6)).await;
        Some(TraceView::Dropped(DroppedView { full: self.left, ..DroppedView::default() }))
    }
}

/// Answers each question with so many lines.
fn slowly(left: u64) -> (Answers<watch::Sender<()>>, Arc<watch::Sender<()>>) {
    let alive = Arc::new(watch::Sender::new(()));
    let answers = Answers::of(Arc::clone(&alive));
    let lines = move |alive: &watch::Sender<()>, _: TraceQuestion| {
        Ok(Slowly { left, _alive: alive.subscribe() })
    };
    (answers.streaming(lines), alive)
}

#[tokio::test]
async fn lines_come_for_longer_than_an_answer_may_take() {
    let (_folder, path) = place();
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(serve(bind(&path).expect("a socket"), slowly(2).0, stopped));
    let mut lines = Vec::new();
    let client = Client::new(&path);
    let question = TraceQuestion::default();
    let stopped = client.follow(&question, |line| {
        lines.push(line);
        ControlFlow::Continue(())
    });
    assert!(!stopped.await.expect("lines"), "they end by themselves");
    let full = |line: &TraceView| match line {
        TraceView::Dropped(dropped) => dropped.full,
        other => panic!("{other:?}"),
    };
    assert_eq!(lines.iter().map(full).collect::<Vec<_>>(), [1, 0]);
}

#[tokio::test]
async fn who_hangs_up_is_told_nothing_more() {
    let (_folder, path) = place();
    let (_stop, stopped) = watch::channel(false);
    let (answers, alive) = slowly(u64::MAX);
    tokio::spawn(serve(bind(&path).expect("a socket"), answers, stopped));
    let mut stream = UnixStream::connect(&path).await.expect("a connection");
    stream.write_all(b"GET /v1/trace HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("asked");
    let mut head = [0; 15];
    stream.read_exact(&mut head).await.expect("the head of an answer");
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    assert_eq!(alive.receiver_count(), 1);
    drop(stream);
    // Before the first line, which could not be sent.
    let gone = tokio::time::timeout(Duration::from_secs(5), alive.closed()).await;
    assert!(gone.is_ok(), "it is told still");
}
