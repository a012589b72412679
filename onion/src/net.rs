//! Sockets: dialling, listening, staying connected, keeping LDK's time.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use lightning::ln::msgs::OnionMessageHandler;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::ldk::Peers;
use crate::node_id::PeerAddress;

/// A TCP connection that takes longer than this is not going to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// LDK's own recommendation. It pings at every tick and gives a peer up after two.
const TICK: Duration = Duration::from_secs(10);
/// Waiting between two attempts to connect starts here and doubles up to the other.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(20);

/// Tasks that end when this is dropped.
#[derive(Default)]
pub(crate) struct Tasks(Vec<JoinHandle<()>>);

impl Tasks {
    /// Runs `work` on the current runtime.
    pub(crate) fn spawn(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.push(tokio::spawn(work));
    }

    /// Ends all tasks and waits until they are gone.
    pub(crate) async fn end(mut self) {
        for task in self.0.drain(..) {
            task.abort();
            // An aborted task reports that it was aborted.
            let _ = task.await;
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

/// Connects to a peer. The future that comes back ends with the connection; whether the
/// peer was who it should be shows in the handler's `peer_connected`.
pub(crate) async fn dial<H>(
    peers: &Arc<Peers<H>>,
    to: &PeerAddress,
) -> io::Result<impl Future<Output = ()> + use<H>>
where
    H: OnionMessageHandler + Send + Sync + 'static,
{
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(to.address)).await??;
    // Nobody behind us does this, and without it the tail of every message waits for an
    // acknowledgement.
    stream.set_nodelay(true)?;
    let stream = stream.into_std()?;
    Ok(lightning_net_tokio::setup_outbound(
        Arc::clone(peers),
        to.node_id.0,
        stream,
    ))
}

/// Connects to a peer again and again.
pub(crate) async fn stay_connected<H>(peers: Arc<Peers<H>>, to: PeerAddress)
where
    H: OnionMessageHandler + Send + Sync + 'static,
{
    let mut backoff = Backoff::default();
    loop {
        let started = Instant::now();
        if let Ok(connection) = dial(&peers, &to).await {
            connection.await;
        }
        backoff.wait(started.elapsed()).await;
    }
}

/// Waits that grow while connections keep failing.
pub(crate) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Backoff(FIRST_BACKOFF)
    }
}

impl Backoff {
    /// Waits after a connection, or an attempt at one, that lasted for `lasted`. The wait
    /// grows as long as connections are shorter than the wait before them. It is between half
    /// and all of what is due, so that the clients of a relay do not all come back at once.
    pub(crate) async fn wait(&mut self, lasted: Duration) {
        self.0 = if lasted < self.0 {
            (self.0 * 2).min(LAST_BACKOFF)
        } else {
            FIRST_BACKOFF
        };
        sleep(self.0.mul_f64(rand::random_range(0.5..=1.0))).await;
    }
}

/// Accepts connections, at most `limit` at once.
pub(crate) async fn accept<H>(peers: Arc<Peers<H>>, listener: TcpListener, limit: usize)
where
    H: OnionMessageHandler + Send + Sync + 'static,
{
    let places = Arc::new(Semaphore::new(limit));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let stream = listener.accept().await.and_then(|(stream, _)| {
            stream.set_nodelay(true)?;
            stream.into_std()
        });
        match stream {
            Ok(stream) => {
                let connection = lightning_net_tokio::setup_inbound(Arc::clone(&peers), stream);
                tokio::spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            // Out of file descriptors, most likely. Trying again at once would spin.
            Err(_) => sleep(FIRST_BACKOFF).await,
        }
    }
}

/// Keeps LDK's time: pings, and the end of peers that do not answer them.
pub(crate) async fn keep_time<H>(peers: Arc<Peers<H>>)
where
    H: OnionMessageHandler + Send + Sync + 'static,
{
    loop {
        sleep(TICK).await;
        peers.timer_tick_occurred();
        peers.process_events();
    }
}
