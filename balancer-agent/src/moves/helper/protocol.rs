//! What is said between an agent and the process that touches sockets: frames of a length and JSON.

use std::{collections::BTreeSet, io, net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    maps::Recorded,
    moves::{
        ask::Answer,
        datagrams::{Ending, Found, Search},
        end::{Order, Outcome},
    },
};

/// Jobs to be done one after another. Each is answered by one [`Reply::Done`], all by a
/// [`Reply::Finished`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Batch {
    /// Whose processes lead to network namespaces.
    pub cgroup: Option<PathBuf>,
    /// What is to be done.
    pub jobs: Vec<Job>,
}

/// Something that may take as long as a pod likes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Job {
    /// Ask the kernel about a socket that is not there.
    Probe,
    /// Ask about a connection.
    Ask {
        /// The connection.
        connection: Recorded,
        /// Its other end.
        backend: SocketAddr,
    },
    /// End a connection.
    End(Order),
    /// Say which UDP sockets are connected as they should be.
    Find(Search),
    /// Say which are not.
    Miss(Search),
    /// End a UDP socket.
    Part(Ending),
}

/// What may hold up who does a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A socket, and its other end where that is known.
    Connection(Recorded, Option<SocketAddr>),
    /// One of the UDP sockets of a network namespace, given as its cookie, while they are listed.
    Listing(u64),
}

impl Subject {
    /// Network namespace and process that may hold it up; 0 for any of those that are there.
    pub const fn owner(&self) -> (u64, u32) {
        match self {
            Self::Connection(connection, _) => (connection.netns, connection.tgid),
            Self::Listing(netns) => (*netns, 0),
        }
    }
}

impl Job {
    /// What may hold it up.
    pub fn subject(&self) -> Option<Subject> {
        Some(match self {
            Self::Probe => return None,
            Self::Find(search) | Self::Miss(search) => Subject::Listing(search.netns),
            Self::Ask { connection, backend } => Subject::Connection(*connection, Some(*backend)),
            Self::End(order) => Subject::Connection(order.connection, order.backend),
            Self::Part(Ending { connection, socket }) => {
                Subject::Connection(*connection, Some(socket.peer()))
            }
        })
    }
}

/// What the process says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// It looks at processes: what comes before it says something else is no pod's doing.
    Looks,
    /// It goes on, with what may take as long as a pod likes.
    Alive,
    /// The next job is done.
    Done(Done),
    /// All are done; what that took of a processor.
    Finished(Duration),
}

/// What came of a job.
#[derive(Debug, Serialize, Deserialize)]
pub enum Done {
    /// Of [`Job::Probe`].
    Probed,
    /// Of [`Job::Ask`].
    Answered(Answer),
    /// Of [`Job::End`].
    Ended(Outcome),
    /// Of [`Job::Find`]; none where no process is left in the network namespace.
    Found(Option<Vec<Found>>),
    /// Of [`Job::Miss`]: cookies.
    Missed(Option<BTreeSet<u64>>),
    /// Of [`Job::Part`]: false if the socket was gone.
    Parted(bool),
    /// Of the last three: why it can't be done.
    Failed(String),
}

/// Adds a message to what is to be written.
pub fn put(buffer: &mut Vec<u8>, message: &impl Serialize) -> io::Result<()> {
    let at = buffer.len();
    buffer.extend([0; 4]);
    serde_json::to_writer(&mut *buffer, message)?;
    let length = u32::try_from(buffer.len() - at - 4).map_err(io::Error::other)?;
    buffer[at..at + 4].copy_from_slice(&length.to_ne_bytes());
    Ok(())
}

/// Takes the first message of what was read; none if it is not whole yet.
pub fn take<T: DeserializeOwned>(buffer: &mut Vec<u8>) -> io::Result<Option<T>> {
    let Some(length) = buffer.first_chunk::<4>() else { return Ok(None) };
    let end = 4 + u32::from_ne_bytes(*length) as usize;
    let Some(bytes) = buffer.get(4..end) else { return Ok(None) };
    let message = serde_json::from_slice(bytes)?;
    buffer.drain(..end);
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_when_they_are_whole() {
        let mut sent = Vec::new();
        put(&mut sent, &Reply::Alive).unwrap();
        put(&mut sent, &Reply::Done(Done::Answered(Answer::Gone))).unwrap();
        let (mut buffer, mut seen) = (Vec::new(), Vec::new());
        for byte in sent {
            buffer.push(byte);
            seen.extend(take::<Reply>(&mut buffer).unwrap());
        }
        assert!(matches!(seen[..], [Reply::Alive, Reply::Done(Done::Answered(Answer::Gone))]));
        assert!(buffer.is_empty());
        assert!(take::<Reply>(&mut vec![1, 0, 0, 0, b'?']).is_err());
    }
}
