//! Bodies of answers: whole, or a stream that may break off.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::mpsc;

/// A piece of a stream; an error ends the connection without the end of the body.
pub type Piece = Result<Bytes, io::Error>;

/// A body.
#[derive(Debug)]
pub enum Answer {
    /// All of it.
    Whole(Option<Bytes>),
    /// What comes through the channel, until it closes.
    Stream(mpsc::Receiver<Piece>),
}

impl Answer {
    /// A body of these bytes.
    pub fn whole(bytes: Vec<u8>) -> Self {
        Self::Whole(Some(bytes.into()))
    }

    /// A body that breaks off after these bytes.
    pub fn broken(bytes: Vec<u8>) -> Self {
        let (sender, receiver) = mpsc::channel(2);
        for piece in [Ok(bytes.into()), Err(broken())] {
            // There is room for two.
            let _ = sender.try_send(piece);
        }
        Self::Stream(receiver)
    }
}

/// The error that breaks a stream off.
pub fn broken() -> io::Error {
    io::Error::other("cut on command")
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(pieces) => {
                pieces.poll_recv(context).map(|piece| Some(piece?.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}
