//! The HTTP/1.1 server: connections in, requests to the router.
//!
//! Invariant: no client can hold a connection for nothing: a head must come within its limit (which also ends idle
//! connections), an answer must be found within its own, and only so many connections are open at a time. A request that
//! was taken in when the server stops is answered.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse, Response};
use clickledger_core::metric_names::CONNECTIONS;
use clickledger_http::{Kind, Problem};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use metrics::gauge;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

/// For a request's head, and for an idle connection.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// For a request's body and its answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// For requests that are under way when the server stops.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// More than what the routes accept, so that they can say so.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Serves until `stop` is true, then finishes what is under way.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    max_connections: usize,
    mut stop: watch::Receiver<bool>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(MAX_HEAD_BYTES)
        .keep_alive(true);
    let places = Arc::new(Semaphore::new(max_connections));
    let graceful = GracefulShutdown::new();
    let open = gauge!(CONNECTIONS);
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, peer, place)) = accepted else {
            continue;
        };
        // A redirect is one small segment: it must not wait for the client's acknowledgement.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection went away");
            continue;
        }
        let router = router.clone();
        let service = service_fn(move |request| answer(router.clone(), peer, request));
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        let open = open.clone();
        open.increment(1);
        tokio::spawn(async move {
            // Whatever ends a connection early is the client's affair.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
            open.decrement(1);
            drop(place);
        });
    }
    drop(listener);
    if timeout(STOP_LIMIT, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests were not finished in time");
    }
}

/// Connections that may wait to be accepted; the system may allow fewer. With the usual 128 or 1,024 a peak's new connections
/// overflow it, and whoever overflows waits a second before trying again.
const WAITING: u32 = 4096;

/// Listens on this address.
pub(super) fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restart need not wait until the last connections are forgotten.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(WAITING)
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, place)),
        Err(error) => {
            // Most likely too many open files: another try at once would fail too.
            tracing::warn!(%error, "a connection could not be accepted");
            sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

async fn answer(
    router: Router,
    peer: SocketAddr,
    request: hyper::Request<Incoming>,
) -> Result<Response, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    match timeout(ANSWER_LIMIT, router.oneshot(request)).await {
        Ok(answer) => answer,
        Err(_) => Ok(Problem::new(Kind::Unavailable, "the request took too long").into_response()),
    }
}
