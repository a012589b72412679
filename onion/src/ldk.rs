//! The one place where LDK's type parameters meet.

use std::sync::Arc;

use lightning::ln::msgs::OnionMessageHandler;
use lightning::ln::peer_handler::{
    ErroringMessageHandler, IgnoringMessageHandler, MessageHandler, PeerManager,
};
use lightning::sign::KeysManager;
use lightning::types::features::InitFeatures;
use lightning::util::logger::{Logger, Record};
use lightning_net_tokio::SocketDescriptor;

/// LDK's peer manager for a node that does onion messages with `H` and nothing else.
pub(crate) type Peers<H> = PeerManager<
    SocketDescriptor,
    Arc<ErroringMessageHandler>,
    IgnoringMessageHandler,
    Arc<H>,
    Arc<Silent>,
    IgnoringMessageHandler,
    Arc<KeysManager>,
    IgnoringMessageHandler,
>;

/// A peer manager around `handler`.
///
/// The channel handler is the one that refuses channels but announces the features a peer
/// with channels insists on (`option_static_remotekey` and the rest).
pub(crate) fn peers<H: OnionMessageHandler>(
    keys: Arc<KeysManager>,
    handler: Arc<H>,
) -> Arc<Peers<H>> {
    let handlers = MessageHandler {
        chan_handler: Arc::new(ErroringMessageHandler::new()),
        route_handler: IgnoringMessageHandler {},
        onion_message_handler: handler,
        custom_message_handler: IgnoringMessageHandler {},
        send_only_message_handler: IgnoringMessageHandler {},
    };
    // The time is a counter for node announcements, of which we make none.
    Arc::new(PeerManager::new(
        handlers,
        0,
        &rand::random(),
        Arc::new(Silent),
        keys,
    ))
}

/// What we announce: onion messages, and gossip queries. A peer that has been promised
/// queries waits for one before it pushes gossip, and we never send one.
pub(crate) fn features() -> InitFeatures {
    let mut features = InitFeatures::empty();
    features.set_onion_messages_optional();
    features.set_gossip_queries_optional();
    features
}

/// A logger that drops everything: LDK's lines carry peer ids and, at the lowest level,
/// contents. What an operator needs is in the counters.
pub(crate) struct Silent;

impl Logger for Silent {
    fn log(&self, _: Record<'_>) {}
}
