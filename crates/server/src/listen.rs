//! Connections: how many, from whom, and how long they may take.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::{Extension, Router};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use thymus_store::Database;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::api;
use crate::error::ServerError;
use crate::hub::Hub;
use crate::state::{App, Host};
use crate::tls;

const CONNECTIONS_MAX: usize = 512;
const CONNECTIONS_OF_ADDRESS_MAX: usize = 128;
const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 32 << 10;
/// For the head of a request, also between two requests of a connection.
const HEAD_TIME: Duration = Duration::from_secs(15);
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// How long a client may take nothing of what it asked for.
const WRITE_TIME: Duration = Duration::from_secs(30);
/// How long requests may go on when the server ends.
const END_TIME: Duration = Duration::from_secs(5);
const THREADS: usize = 2;

/// Key and certificate in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, with what it takes to reach a root.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl TlsFiles {
    /// Whether they can be used.
    ///
    /// # Errors
    /// When they cannot be read, or do not belong together.
    pub fn check(&self) -> Result<(), ServerError> {
        tls::config(self).map(|_| ())
    }
}

/// How to listen.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where.
    pub listen: SocketAddr,
    /// The user's own certificate. Without one a loopback address is served in the clear, and any other with a
    /// certificate that is made at the first start.
    pub tls: Option<TlsFiles>,
    /// Names that this server goes by, beside addresses and `localhost`.
    pub hosts: Vec<String>,
    /// A folder for the certificate that is made.
    pub dir: PathBuf,
}

/// Who connected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client(pub(crate) SocketAddr);

/// A server that listens.
pub struct Server {
    listener: std::net::TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    hub: Hub,
}

impl Server {
    /// Listens; nothing is answered before [`Self::run`].
    ///
    /// # Errors
    /// When the address cannot be listened on, or key and certificate cannot be used.
    pub fn bind(
        options: &Options,
        database: Arc<Database>,
        host: Arc<dyn Host>,
        hub: Hub,
    ) -> Result<Self, ServerError> {
        let tls = acceptor(options)?;
        // No thread is started here, so that the caller may give up rights before there are several.
        let listener = std::net::TcpListener::bind(options.listen)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|source| ServerError::Listen {
                address: options.listen.to_string(),
                source,
            })?;
        let app = App::new(
            database,
            host,
            hub.clone(),
            tls.is_some(),
            options.hosts.clone(),
        );
        Ok(Self {
            router: api::router(Arc::new(app))?,
            listener,
            tls,
            hub,
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Whether it speaks TLS.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Serves until `is_over` says so; what is being answered then is answered.
    ///
    /// # Errors
    /// When threads cannot be started.
    pub fn run(self, is_over: &(dyn Fn() -> bool + Sync)) -> Result<(), ServerError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .max_blocking_threads(16)
            .enable_all()
            .thread_name("http")
            .build()
            .map_err(ServerError::Threads)?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(self.listener).map_err(ServerError::Threads)?
        };
        let (ending, ended) = watch::channel(false);
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let shared = Shared {
            router: self.router,
            tls: self.tls,
            of_address: Arc::default(),
            ended,
        };
        runtime.block_on(async {
            loop {
                let Ok(permit) = Arc::clone(&connections).acquire_owned().await else {
                    break;
                };
                let Some((stream, client)) = accepted(&listener, is_over).await else {
                    break;
                };
                let Some(place) = Place::take(&shared.of_address, client.ip()) else {
                    continue;
                };
                let shared = shared.clone();
                tokio::spawn(async move {
                    shared.serve(stream, client).await;
                    drop((permit, place));
                });
            }
            self.hub.close();
            ending.send_replace(true);
            let all = connections.acquire_many(CONNECTIONS_MAX as u32 - 1);
            // Who takes longer is cut off.
            let _is_done = timeout(END_TIME, all).await.is_ok();
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
        Ok(())
    }
}

fn acceptor(options: &Options) -> Result<Option<TlsAcceptor>, ServerError> {
    let files = match &options.tls {
        Some(files) => files.clone(),
        None if options.listen.ip().is_loopback() => return Ok(None),
        None => {
            let mut names = options.hosts.clone();
            names.extend(["localhost".to_owned(), options.listen.ip().to_string()]);
            tls::own(&options.dir, names)?
        }
    };
    Ok(Some(TlsAcceptor::from(tls::config(&files)?)))
}

async fn accepted(
    listener: &TcpListener,
    is_over: &(dyn Fn() -> bool + Sync),
) -> Option<(TcpStream, SocketAddr)> {
    loop {
        match timeout(Duration::from_millis(200), listener.accept()).await {
            _ if is_over() => return None,
            Ok(Ok(found)) => return Some(found),
            // Out of descriptors, or a client that left: the next one may work.
            Ok(Err(_)) => sleep(Duration::from_millis(50)).await,
            Err(_) => {}
        }
    }
}

/// Connections by address.
type Counts = Arc<Mutex<BTreeMap<IpAddr, usize>>>;

/// A connection that is counted.
struct Place {
    counts: Counts,
    address: IpAddr,
}

impl Place {
    fn take(counts: &Counts, address: IpAddr) -> Option<Self> {
        let mut held = counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(address).or_default();
        if *count >= CONNECTIONS_OF_ADDRESS_MAX {
            return None;
        }
        *count += 1;
        Some(Self {
            counts: Arc::clone(counts),
            address,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.address);
            }
        }
    }
}

#[derive(Clone)]
struct Shared {
    router: Router,
    tls: Option<TlsAcceptor>,
    of_address: Counts,
    ended: watch::Receiver<bool>,
}

impl Shared {
    async fn serve(self, stream: TcpStream, client: SocketAddr) {
        let Some(tls) = &self.tls else {
            return self.speak(Paced::new(stream), client).await;
        };
        if let Ok(Ok(stream)) = timeout(HANDSHAKE_TIME, tls.accept(Paced::new(stream))).await {
            self.speak(stream, client).await;
        }
    }

    async fn speak(&self, stream: impl AsyncRead + AsyncWrite + Unpin, client: SocketAddr) {
        let router = self.router.clone().layer(Extension(Client(client)));
        let service = tower::util::MapRequest::new(router, |request: Request<Incoming>| {
            request.map(Body::new)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEADER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        let mut connection = std::pin::pin!(connection);
        let mut ended = self.ended.clone();
        let mut over = std::pin::pin!(async move {
            // A sender that is gone ends it too.
            let _is_over = ended.wait_for(|over| *over).await.is_ok();
        });
        let mut is_ending = false;
        std::future::poll_fn(|cx| {
            if !is_ending && over.as_mut().poll(cx).is_ready() {
                is_ending = true;
                connection.as_mut().graceful_shutdown();
            }
            connection.as_mut().poll(cx).map(|_| ())
        })
        .await;
    }
}

/// A stream whose other end has to take something now and then.
struct Paced {
    stream: TcpStream,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            stalled: None,
        }
    }

    fn paced<T>(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.stalled = None;
            return done;
        }
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(WRITE_TIME)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.paced(cx, done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.paced(cx, done)
    }
}
