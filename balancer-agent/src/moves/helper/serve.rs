//! The process that touches sockets.
//!
//! One thread reads what is to be done, one does it, one answers: however long a job takes, what
//! was done before it is told, and the end of the agent is seen. Ending this process ends a close
//! that lingers; what waits for a socket's lock stays until it has it.
#![allow(unsafe_code, reason = "no safe wrapper calls close_range(2)")]

use std::{
    io::{self, Read as _, Write as _},
    os::{fd::AsFd as _, unix::net::UnixStream},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};

use super::protocol::{Batch, Done, Job, Reply, put, take};
use crate::{
    moves::{
        ask::{Answer, Kernel, Led},
        datagrams, end,
        holders::Holders,
    },
    node::sockets,
};

/// Without anything to do for so long, it ends.
const IDLE: Duration = Duration::from_secs(60);
/// How long it is remembered who has which socket while nothing is to be done.
const REMEMBERED: Duration = Duration::from_secs(1);
/// Most bytes of one write.
const WRITE: usize = 1 << 16;

/// Does what the socket at standard input asks for, until its other end is closed.
pub fn serve() -> io::Result<()> {
    close_inherited()?;
    let mut socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    // An error for what is no socket.
    socket.local_addr()?;
    let (batches, todo) = channel();
    let (replies, said) = channel();
    let answers = socket.try_clone()?;
    thread::Builder::new().name("write".to_owned()).spawn(move || write(answers, &said))?;
    let idle = socket.try_clone()?;
    thread::Builder::new().name("work".to_owned()).spawn(move || {
        work(&todo, &replies);
        // Ends the reading, and with it the process.
        let _ = idle.shutdown(std::net::Shutdown::Both);
    })?;
    let mut buffer = Vec::new();
    let mut chunk = vec![0; WRITE];
    loop {
        match socket.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(length) => buffer.extend_from_slice(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        while let Some(batch) = take::<Batch>(&mut buffer)? {
            if batches.send(batch).is_err() {
                return Ok(());
            }
        }
    }
}

/// Closes what whoever started the agent left open for it: locks and listeners among them, which
/// would be held for as long as this process is.
fn close_inherited() -> io::Result<()> {
    // SAFETY: the call takes numbers alone, and nothing in this process has opened a descriptor yet
    // but the three of every process.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Writes what there is, as much at once as has come.
fn write(mut socket: UnixStream, said: &Receiver<Reply>) {
    let mut buffer = Vec::new();
    while let Ok(reply) = said.recv() {
        let mut next = Some(reply);
        while let Some(reply) = next {
            if put(&mut buffer, &reply).is_err() {
                return;
            }
            next = if buffer.len() < WRITE { said.try_recv().ok() } else { None };
        }
        if socket.write_all(&buffer).is_err() {
            return;
        }
        buffer.clear();
    }
}

fn work(todo: &Receiver<Batch>, replies: &Sender<Reply>) {
    let alive = || drop(replies.send(Reply::Alive));
    let looks = replies.clone();
    let mut holders = Holders::new(move || drop(looks.send(Reply::Looks)));
    let mut led = Led::new();
    loop {
        let batch = match todo.recv_timeout(REMEMBERED) {
            Ok(batch) => batch,
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                holders.forget();
                match todo.recv_timeout(IDLE) {
                    Ok(batch) => batch,
                    Err(_) => return,
                }
            }
        };
        let started = processor_time();
        // Lives for one batch: what it has open keeps the namespaces of pods that are gone.
        let mut kernel = Kernel::new(batch.cgroup.clone(), std::mem::take(&mut led));
        holders.begin(batch.cgroup);
        let ends = batch.jobs.iter().filter_map(|job| match job {
            Job::End(order) => Some(order.connection.tgid),
            _ => None,
        });
        holders.look_at_all(ends);
        // From here on what takes long is counted against the first job.
        alive();
        for job in batch.jobs {
            let done = match job {
                Job::Probe => {
                    // What it says is no matter: only that it does.
                    let _ = sockets::can_end();
                    Done::Probed
                }
                Job::Ask { connection, backend } => {
                    let answer = kernel.ask(&connection, backend);
                    Done::Answered(answer.unwrap_or_else(|error| Answer::Failed(error.to_string())))
                }
                Job::End(order) => {
                    Done::Ended(end::carry_out(&order, &mut kernel, &mut holders, alive))
                }
                Job::Find(search) => {
                    told(datagrams::find(&search, &mut kernel, alive).map(Done::Found))
                }
                Job::Miss(search) => {
                    told(datagrams::missing(&search, &mut kernel, alive).map(Done::Missed))
                }
                Job::Part(ending) => told(datagrams::end(&ending, &mut kernel).map(Done::Parted)),
            };
            if replies.send(Reply::Done(done)).is_err() {
                return;
            }
        }
        led = kernel.led();
        let spent = processor_time().saturating_sub(started);
        if replies.send(Reply::Finished(spent)).is_err() {
            return;
        }
    }
}

/// What is said of a job, or why it can't be done.
fn told(done: io::Result<Done>) -> Done {
    done.unwrap_or_else(|error| Done::Failed(error.to_string()))
}

/// What this process has spent.
fn processor_time() -> Duration {
    // Every Linux has this clock.
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}
