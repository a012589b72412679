//! A client inside the test: the library a wallet links, over real sockets.

use std::sync::Arc;
use std::time::Duration;

use larder_onion::{Circuits, CircuitsConfig, Destination, PeerAddress};
use larder_protocol::{Address, BLOB_LEN, Blob, Reply, envelope};
use larder_recovery::{
    Lane, Means, MemoryJournal, OnionTransport, Provider, Purpose, Purse, RootKey, Schedule, Slot,
    Stage,
};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use secp256k1::Keypair;
use tokio::runtime::Runtime;

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

pub(crate) struct Client {
    pub(crate) circuits: Arc<Circuits>,
    pub(crate) transport: Arc<OnionTransport>,
    pub(crate) provider: Arc<Provider>,
    destination: Destination,
    schedule: Schedule,
}

/// Patient enough for a storage node that is killed again and again.
pub(crate) fn patient(first_hop: PeerAddress) -> CircuitsConfig {
    CircuitsConfig {
        deadline: Duration::from_secs(300),
        ..CircuitsConfig::new(vec![first_hop])
    }
}

/// Tokens that a client has: as many pairs as one payment can buy.
pub(crate) const TOKENS: u64 = 160_000;

impl Client {
    /// Connects, and gets [`TOKENS`] where they are asked for.
    pub(crate) async fn connect(config: CircuitsConfig, address: &Address) -> Self {
        let mut client = Client::connect_without_tokens(config, address).await;
        if client.provider.record().tariff.is_some() {
            let provider = Provider::connect(address.clone(), client.transport.clone()).await;
            let root = RootKey::from_bytes(rand::rng().random());
            let purse = Purse::open(&root, address.server_key(), MemoryJournal::new());
            let provider = provider
                .expect("the storage node answers")
                .with_purse(purse.expect("a new purse"))
                .expect("its terms");
            let bought = provider.buy(TOKENS, Means::Lightning).await.expect("sold");
            assert_eq!(bought.stage, Stage::Collected);
            client.provider = Arc::new(provider);
        }
        client
    }

    pub(crate) async fn connect_without_tokens(config: CircuitsConfig, address: &Address) -> Self {
        let circuits = Arc::new(Circuits::start(config).expect("a first hop"));
        let transport = OnionTransport::new(circuits.clone(), address);
        let transport = Arc::new(transport.lingering(|| Duration::ZERO));
        let provider = Provider::connect(address.clone(), transport.clone()).await;
        Client {
            circuits,
            transport,
            provider: Arc::new(provider.expect("the storage node answers")),
            destination: larder_recovery::transport::destination(address),
            schedule: Schedule::new(RootKey::from_bytes([3; 32]), *address.server_key()),
        }
    }

    /// The keypair of a number; no two numbers share one.
    pub(crate) fn keypair(&self, number: u64) -> Keypair {
        let lane = Lane::default();
        self.schedule.keypair(&Slot {
            purpose: Purpose::Log,
            lane,
            generation: 0,
            index: number,
        })
    }

    /// Sends contents as they are and returns the reply to them.
    pub(crate) async fn send_raw(&self, contents: &[u8]) -> Reply {
        let contents = self.send_for_contents(contents).await;
        Reply::decode(envelope::unwrap(&contents).expect("an envelope")).expect("a reply")
    }

    /// The same, and returns the answer as it came.
    pub(crate) async fn send_for_contents(&self, contents: &[u8]) -> Vec<u8> {
        let answer = self.circuits.request(&self.destination, contents).await;
        answer.expect("an answer").contents
    }
}

/// The blob of a number; no two numbers share one.
pub(crate) fn blob(number: u64) -> Blob {
    let mut bytes = vec![0; BLOB_LEN];
    StdRng::seed_from_u64(number).fill_bytes(&mut bytes);
    bytes.try_into().expect("a blob's length")
}
