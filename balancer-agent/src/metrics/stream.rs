//! A text that is sent while it is written: with series of 100,000 backends it is larger than all else
//! that the agent holds.

use std::{
    fmt::{self, Write},
    io, mem,
};

use axum::body::{Body, Bytes};
use futures_util::stream;
use tokio::sync::mpsc;

/// What is sent at a time, in bytes.
const CHUNK: usize = 64 << 10;
/// How many of these may wait for the client.
const AHEAD: usize = 4;

/// Takes a text and sends it in pieces. An error of it means that nobody listens any more.
pub(super) struct Chunks {
    text: String,
    sender: mpsc::Sender<io::Result<Bytes>>,
}

impl Chunks {
    fn send(&mut self) -> fmt::Result {
        let text = mem::replace(&mut self.text, String::with_capacity(CHUNK));
        self.sender.blocking_send(Ok(text.into())).map_err(|_| fmt::Error)
    }
}

impl Write for Chunks {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.text.len() + text.len() > CHUNK {
            self.send()?;
        }
        self.text.push_str(text);
        Ok(())
    }
}

/// The body of an answer that is what `write` writes. It waits for the client where that is slow. A
/// text that can't be finished is broken off, so that nobody takes it for whole.
pub(super) fn body(write: impl FnOnce(&mut Chunks) -> fmt::Result + Send + 'static) -> Body {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut chunks = Chunks { text: String::with_capacity(CHUNK), sender };
        if write(&mut chunks).and_then(|()| chunks.send()).is_err() {
            // Nobody may listen any more, which is no matter.
            let _ = chunks.sender.blocking_send(Err(io::Error::other("the text is not whole")));
        }
    });
    Body::from_stream(stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    }))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_long_text_comes_whole_and_in_pieces() {
        let line = "x".repeat(99) + "\n";
        let lines = 50_000;
        let written = line.clone();
        let mut body = body(move |out| (0..lines).try_for_each(|_| out.write_str(&written)));
        let (mut length, mut pieces) = (0, 0);
        while let Some(frame) = body.frame().await {
            let piece = frame.expect("a piece").into_data().expect("text");
            assert!(piece.len() <= CHUNK, "{}", piece.len());
            length += piece.len();
            pieces += 1;
        }
        assert_eq!(length, lines * line.len());
        assert!(pieces > 50, "{pieces}");
    }

    #[tokio::test]
    async fn a_text_that_fails_is_broken_off() {
        let body = body(|out| out.write_str("half").and(Err(fmt::Error)));
        assert!(body.collect().await.is_err());
    }

    #[tokio::test]
    async fn who_writes_ends_with_who_listens() {
        let (told, mut hears) = mpsc::channel::<()>(1);
        let body = body(move |out| {
            let _told = told;
            loop {
                out.write_str("more\n")?;
            }
        });
        drop(body);
        assert_eq!(hears.recv().await, None);
    }
}
