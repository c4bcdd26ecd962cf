//! What hangs on a connection: transactions that pause, and queries that another connection cancels.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, bail};
use futures_util::future::join_all;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, stdin},
    sync::watch,
    time::sleep,
};
use tokio_postgres::{Client, Error, NoTls, error::SqlState};

use super::config;
use crate::serve;

/// Pauses between the INSERT and the COMMIT, in milliseconds: each connection takes its turn.
const PAUSES_MS: [u64; 5] = [150, 300, 600, 1_000, 2_000];
/// How long a query would run that is cancelled.
const QUERY: &str = "select pg_sleep(1)";
/// After which time it is cancelled.
const BEGUN: Duration = Duration::from_millis(100);

/// What became of the transactions of one connection after another.
#[derive(Default)]
struct Done {
    committed: u64,
    /// Connections opened after the first.
    reopened: u64,
    failed: Vec<String>,
}

/// Has transactions over connections, each with a pause, until the input ends.
pub(crate) async fn transact(target: SocketAddr, connections: u64, rest: Duration) -> Result<()> {
    let (stop, stopped) = watch::channel(false);
    let lane = |lane| tokio::spawn(run(target, lane, rest, stopped.clone()));
    let lanes: Vec<_> = (0..connections).map(lane).collect();
    stdin().read_to_end(&mut Vec::new()).await?;
    stop.send_replace(true);
    let mut all = Done::default();
    for lane in join_all(lanes).await {
        let Done { committed, reopened, failed } = lane??;
        all.committed += committed;
        all.reopened += reopened;
        all.failed.extend(failed);
    }
    let Done { committed, reopened, failed } = all;
    let said = json!({"committed": committed, "reopened": reopened, "failed": failed});
    serve::say(&said.to_string())?;
    Ok(())
}

async fn run(
    target: SocketAddr,
    lane: u64,
    rest: Duration,
    mut stopped: watch::Receiver<bool>,
) -> Result<Done> {
    let mut done = Done::default();
    let mut client = connect(target, lane).await?;
    for pause in PAUSES_MS.iter().cycle().skip(lane as usize % PAUSES_MS.len()) {
        // Between two transactions a pool looks whether its connection was closed.
        if client.is_closed() {
            client = connect(target, lane).await?;
            done.reopened += 1;
        }
        match transaction(&client, lane, Duration::from_millis(*pause)).await {
            Ok(()) => done.committed += 1,
            Err(error) => done.failed.push(format!("with a pause of {pause} ms: {error}")),
        }
        tokio::select! {
            () = sleep(rest) => {}
            _ = stopped.wait_for(|stop| *stop) => {}
        }
        if *stopped.borrow() {
            break;
        }
    }
    Ok(done)
}

/// A connection, with a table of its own for what is inserted over it.
async fn connect(target: SocketAddr, lane: u64) -> Result<Client> {
    let (client, connection) = config(target).connect(NoTls).await?;
    tokio::spawn(connection);
    client.batch_execute(&format!("create table if not exists kept_{lane} (at int)")).await?;
    Ok(client)
}

async fn transaction(client: &Client, lane: u64, pause: Duration) -> Result<(), Error> {
    client.batch_execute("begin").await?;
    client.batch_execute(&format!("insert into kept_{lane} values (1)")).await?;
    sleep(pause).await;
    client.batch_execute("commit").await
}

/// Cancels queries, each over a connection of its own, as the protocol has it: by another one to the
/// same address.
pub(crate) async fn cancel(target: SocketAddr, queries: u64) -> Result<()> {
    let mut cancelled = 0;
    for _ in 0..queries {
        let (client, connection) = config(target).connect(NoTls).await?;
        tokio::spawn(connection);
        let token = client.cancel_token();
        let cancel = async {
            sleep(BEGUN).await;
            token.cancel_query(NoTls).await
        };
        let (ran, sent) = tokio::join!(client.batch_execute(QUERY), cancel);
        sent?;
        match ran {
            Ok(()) => {}
            Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => cancelled += 1,
            Err(error) => bail!("the query failed otherwise: {error}"),
        }
    }
    serve::say(&json!({"queries": queries, "cancelled": cancelled}).to_string())?;
    Ok(())
}
