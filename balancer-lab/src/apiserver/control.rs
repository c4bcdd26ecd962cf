//! Orders to a running server over HTTP on a Unix socket, for what runs in another process.
//!
//! | request | does |
//! |---|---|
//! | `POST /put`, body: objects in YAML | [`ApiServer::put`] for each |
//! | `POST /remove`, body: objects in YAML | [`ApiServer::remove`] for each |
//! | `POST /away`, `/back`, `/hang-up` | [`ApiServer::away`], `back`, `hang_up` |
//! | `POST /compact`, `/expire-tokens`, `/renew-token` | the method of that name |
//! | `POST /slow?ms=N`, `/cut?count=N`, `/garbage?count=N`, `/fail?status=N&count=N` | [`Faults`](super::Faults) |
//! | `GET /seen` | the requests so far, as JSON |

use std::{convert::Infallible, sync::Arc, time::Duration};

use http_body_util::BodyExt;
use hyper::{Method, Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixListener;

use super::{ApiServer, body::Answer, query::Query};
use crate::error::{Attempt, Error, Result};

/// Takes orders for `server`, for ever.
pub async fn control(server: Arc<ApiServer>, socket: UnixListener) -> Result<()> {
    loop {
        let (stream, _) = socket.accept().await.attempt("accept orders")?;
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let server = Arc::clone(&server);
                async move { Ok::<_, Infallible>(answer(&server, request).await) }
            });
            // How a client leaves is no news.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(server: &ApiServer, request: Request<Incoming>) -> Response<Answer> {
    let (code, text) = match obey(server, request).await {
        Ok(text) => (200, text),
        Err(error) => (400, error.to_string()),
    };
    let body = Answer::whole(format!("{text}\n").into_bytes());
    Response::builder().status(code).body(body).expect("the status is always legal")
}

async fn obey(server: &ApiServer, request: Request<Incoming>) -> Result<String> {
    let (head, body) = request.into_parts();
    let query = Query::parse(head.uri.query().unwrap_or_default());
    let number = |name: &str, default: u64| match query.number(name) {
        Ok(number) => Ok(number.unwrap_or(default)),
        Err(refusal) => Err(Error::Unmet(refusal.message)),
    };
    let faults = server.faults();
    match (&head.method, head.uri.path()) {
        (&Method::GET, "/seen") => {
            let seen = server.seen();
            let line =
                |s: &super::Seen| json!({"method": s.method, "uri": s.uri, "status": s.status});
            return Ok(Value::from(seen.iter().map(line).collect::<Vec<_>>()).to_string());
        }
        (&Method::POST, path @ ("/put" | "/remove")) => {
            let what = "read the body of the request";
            let body = body.collect().await.map_err(std::io::Error::other).attempt(what)?;
            for object in objects(&body.to_bytes())? {
                if path == "/put" { server.put(&object)? } else { server.remove(&object)? }
            }
        }
        (&Method::POST, "/away") => server.away()?,
        (&Method::POST, "/back") => server.back()?,
        (&Method::POST, "/hang-up") => server.hang_up()?,
        (&Method::POST, "/compact") => server.compact(),
        (&Method::POST, "/expire-tokens") => server.expire_tokens(),
        (&Method::POST, "/renew-token") => server.renew_token()?,
        (&Method::POST, "/slow") => faults.slow(Duration::from_millis(number("ms", 0)?)),
        (&Method::POST, "/cut") => faults.cut(number("count", 1)? as u32),
        (&Method::POST, "/garbage") => faults.garbage(number("count", 1)? as u32),
        (&Method::POST, "/fail") => {
            faults.fail(number("status", 500)? as u16, number("count", 1)? as usize);
        }
        (method, path) => return Err(Error::Unmet(format!("{method} {path} is no order"))),
    }
    Ok("done".to_owned())
}

/// The objects of a YAML text; Lists are opened.
pub fn objects(text: &[u8]) -> Result<Vec<Value>> {
    // Whole clusters are given in one text.
    let options = serde_saphyr::options! { budget: None };
    let documents: Vec<Value> = serde_saphyr::from_slice_multiple_with_options(text, options)
        .map_err(|error| Error::Unmet(format!("objects are no YAML: {error}")))?;
    let mut objects = Vec::new();
    for document in documents {
        match document {
            Value::Object(mut list) if list.get("kind").is_some_and(|kind| kind == "List") => {
                objects.extend(
                    list.remove("items").and_then(|i| i.as_array().cloned()).unwrap_or_default(),
                );
            }
            object => objects.push(object),
        }
    }
    Ok(objects)
}
