//! Sockets: dialling, listening, staying connected, keeping LDK's time.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use lightning::ln::msgs::OnionMessageHandler;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::handshakes::Handshakes;
use crate::ldk::Peers;
use crate::peer_host::PeerHost;
use crate::trouble::Trouble;

/// A TCP connection that takes longer than this is not going to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// LDK's own recommendation. It pings at every tick and gives a peer up after two.
const TICK: Duration = Duration::from_secs(10);
/// The pause between two connections to a peer starts here and doubles up to the other.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(20);

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

/// Connects to a peer and stays until the connection ends, if it comes about; returns why there was
/// none. When it has come about, and with whom it should have, the handler's `peer_connected` is called.
pub(crate) async fn connect<H>(peers: Arc<Peers<H>>, to: &PeerHost) -> Result<(), Trouble>
where
    H: OnionMessageHandler + Send + Sync + 'static,
{
    let sockets = async {
        let sockets = to.sockets().await.map_err(|_| Trouble::Unnamed)?;
        // One after the other, until one is there.
        let stream = TcpStream::connect(&*sockets).await;
        stream.map_err(|error| Trouble::of(&error))
    };
    let stream = timeout(CONNECT_TIMEOUT, sockets).await;
    let stream = stream.unwrap_or(Err(Trouble::Silent))?;
    // LDK leaves this to us. Without it the tail of a message waits for an acknowledgement.
    let stream = stream.set_nodelay(true).and_then(|()| stream.into_std());
    let stream = stream.map_err(|error| Trouble::of(&error))?;
    lightning_net_tokio::setup_outbound(peers, to.node_id.point(), stream).await;
    Ok(())
}

/// Connects to a peer again and again.
pub(crate) async fn stay_connected<H>(peers: Arc<Peers<H>>, to: PeerHost)
where
    H: OnionMessageHandler + Send + Sync + 'static,
{
    persist(|| async {
        // The next attempt comes whatever became of this one.
        let _ = connect(Arc::clone(&peers), &to).await;
    })
    .await;
}

/// Connects again and again. The pause between grows as long as connections, or attempts at
/// one, are shorter than the pause before them. It is between half and all of what is due, so
/// that the clients of a relay do not all come back at the same moment.
pub(crate) async fn persist<F: Future<Output = ()>>(connect: impl Fn() -> F) {
    let mut pause = FIRST_PAUSE;
    loop {
        let started = Instant::now();
        connect().await;
        pause = if started.elapsed() < pause {
            (pause * 2).min(LAST_PAUSE)
        } else {
            FIRST_PAUSE
        };
        sleep(pause.mul_f64(rand::random_range(0.5..=1.0))).await;
    }
}

/// Accepts connections. Those that are no peer's yet are bounded here, see [`handshakes`](crate::handshakes); peers are
/// by the handler.
pub(crate) async fn accept<H>(peers: Arc<Peers<H>>, listener: TcpListener)
where
    H: OnionMessageHandler + Send + Sync + 'static,
{
    let mut waiting = Handshakes::default();
    loop {
        let accepted = match waiting.deadline() {
            Some(deadline) => timeout_at(deadline, listener.accept()).await,
            None => Ok(listener.accept().await),
        };
        let known = peers.list_peers().into_iter();
        waiting.settle(known.filter_map(|peer| peer.socket_address));
        // One has waited for too long.
        let Ok(accepted) = accepted else { continue };
        let stream = accepted.and_then(|(stream, remote)| {
            stream.set_nodelay(true)?;
            let stream = stream.into_std()?;
            Ok((stream.try_clone()?, stream, remote))
        });
        match stream {
            Ok((again, stream, remote)) => {
                let connection = lightning_net_tokio::setup_inbound(Arc::clone(&peers), stream);
                waiting.add(remote, again, connection);
            }
            // Out of file descriptors, most likely. Trying again at once would spin.
            Err(_) => sleep(FIRST_PAUSE).await,
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
