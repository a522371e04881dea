//! The HTTP server: accepts connections, and comes to an end in good order.
//!
//! poem's own server polls a connection once more after it has failed. hyper then ends the body of
//! a stream that was cut as if it were complete, which no client may ever believe.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Addr, Endpoint, Request, Response};
use tokio::net::{TcpListener, TcpSocket};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

/// Connections that may wait to be accepted; a burst of reconnecting clients is larger than the
/// usual 128 or 1024.
const BACKLOG: u32 = 4096;

/// How long a client may take to send the headers of its next request, idle time included.
const HEADERS_WITHIN: Duration = Duration::from_secs(75);

/// How a server treats its clients.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How long a client may read nothing while there is something to send.
    pub unread: Duration,
    /// How long requests in flight have when the process ends.
    pub last_requests: Duration,
}

/// How long to wait after a connection could not be accepted: the reason is most likely that there
/// are too many, and asking at once would only burn time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Listens. Accepted sockets inherit `TCP_NODELAY` from the listener: a small frame must not wait
/// for the acknowledgement of the one before.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_nodelay(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `stop`, and then until the requests in flight have ended.
pub async fn serve(
    listener: TcpListener,
    endpoint: impl Endpoint<Output = Response> + 'static,
    stop: CancellationToken,
    patience: Patience,
) -> std::io::Result<()> {
    let local = LocalAddr(Addr::SocketAddr(listener.local_addr()?));
    let endpoint = Arc::new(endpoint);
    let builder = connections();
    let open = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (socket, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (endpoint, local) = (Arc::clone(&endpoint), local.clone());
        let remote = RemoteAddr(Addr::SocketAddr(remote));
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let (endpoint, local, remote) = (Arc::clone(&endpoint), local.clone(), remote.clone());
            async move {
                let request = Request::from((request, local, remote, Scheme::HTTP));
                Ok::<hyper::Response<_>, Infallible>(endpoint.get_response(request).await.into())
            }
        });
        let mut socket = Box::pin(TimeoutStream::new(socket));
        socket.as_mut().set_write_timeout_pinned(Some(patience.unread));
        let connection = builder.serve_connection(TokioIo::new(socket), service).into_owned();
        let watched = open.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = watched.await {
                tracing::debug!(error = &*error, "a connection broke");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(patience.last_requests, open.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end in time");
    }
    Ok(())
}

fn connections() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN);
    builder
}
