//! AMQP 0-9-1: lapin. The server is RabbitMQ; a request is a call through its broker (RPC).

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use futures_util::{StreamExt as _, future::try_join_all};
use lapin::{
    BasicProperties, Channel, Consumer,
    options::{BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions},
    types::FieldTable,
};

use crate::{client::Protocol, serve};

/// The queue of requests.
const REQUESTS: &str = "requests";
/// RabbitMQ's name for "answer on the connection that asks".
const REPLY_TO: &str = "amq.rabbitmq.reply-to";

pub(crate) struct Connection {
    connection: lapin::Connection,
    channel: Channel,
    answers: Consumer,
}

impl Protocol for Connection {
    async fn open(target: SocketAddr, connections: usize) -> Result<Vec<Self>> {
        let open = || async {
            let connection = connect(target).await?;
            let channel = connection.create_channel().await?;
            let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
            let answers = consume(&channel, REPLY_TO, options).await?;
            Ok(Self { connection, channel, answers })
        };
        try_join_all((0..connections).map(|_| open())).await
    }

    async fn ask(&mut self) -> Result<String> {
        let properties = BasicProperties::default().with_reply_to(REPLY_TO.into());
        publish(&self.channel, REQUESTS, b"who are you?", properties).await?;
        let answer = self.answers.next().await.context("the broker hung up")??;
        Ok(String::from_utf8(answer.data)?)
    }

    async fn close(self) -> Result<()> {
        Ok(self.connection.close(200, "done".into()).await?)
    }
}

/// Answers the requests that arrive at a broker, with a name.
pub(crate) async fn work(name: String, broker: SocketAddr) -> Result<()> {
    let connection = connect(broker).await?;
    let channel = connection.create_channel().await?;
    let queue = QueueDeclareOptions { auto_delete: true, ..Default::default() };
    channel.queue_declare(REQUESTS.into(), queue, FieldTable::default()).await?;
    let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
    let mut requests = consume(&channel, REQUESTS, options).await?;
    serve::say("listening")?;
    while let Some(request) = requests.next().await {
        let request = request?;
        let asker = request.properties.reply_to().as_ref().context("a request without reply-to")?;
        publish(&channel, asker.as_str(), name.as_bytes(), BasicProperties::default()).await?;
    }
    Ok(())
}

async fn connect(broker: SocketAddr) -> Result<lapin::Connection> {
    let uri = format!("amqp://{broker}/%2f");
    Ok(lapin::Connection::connect(&uri, lapin::ConnectionProperties::default()).await?)
}

async fn consume(channel: &Channel, queue: &str, options: BasicConsumeOptions) -> Result<Consumer> {
    Ok(channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await?)
}

async fn publish(
    channel: &Channel,
    queue: &str,
    body: &[u8],
    properties: BasicProperties,
) -> Result<()> {
    let options = BasicPublishOptions::default();
    channel.basic_publish("".into(), queue.into(), options, body, properties).await?.await?;
    Ok(())
}
