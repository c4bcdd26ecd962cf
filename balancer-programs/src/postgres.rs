//! PostgreSQL: a pool of deadpool-postgres over tokio-postgres. The server is PostgreSQL.

pub(crate) mod state;

use std::net::SocketAddr;

use anyhow::Result;
use deadpool_postgres::{Manager, Object, Pool};
use futures_util::future::try_join_all;
use tokio_postgres::{Config, NoTls};

use crate::client::Protocol;

/// How to connect to a server of the tests.
fn config(target: SocketAddr) -> Config {
    let mut config = Config::new();
    config.host(target.ip().to_string()).port(target.port());
    config.user("postgres").dbname("postgres");
    config
}

/// A connection taken out of the pool, and the pool it goes back to.
pub(crate) struct Connection {
    client: Object,
    pool: Pool,
}

impl Protocol for Connection {
    async fn open(target: SocketAddr, connections: usize) -> Result<Vec<Self>> {
        let manager = Manager::new(config(target), NoTls);
        let pool = Pool::builder(manager).max_size(connections).build()?;
        let open = || async {
            let client = pool.get().await?;
            Ok(Self { client, pool: pool.clone() })
        };
        try_join_all((0..connections).map(|_| open())).await
    }

    async fn ask(&mut self) -> Result<String> {
        let row = self.client.query_one("select current_setting('cluster_name')", &[]).await?;
        Ok(row.try_get(0)?)
    }

    async fn close(self) -> Result<()> {
        drop(self.client);
        self.pool.close();
        Ok(())
    }
}
