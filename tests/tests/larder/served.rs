//! A storage node inside the test: its real desk and store behind a real service, so that the test sees
//! each request before it is answered.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use larder_node::clock::SystemClock;
use larder_node::till::Till;
use larder_node::{Config, Desk, Identity, Sale};
use larder_onion::{PeerAddress, Service, ServiceConfig};
use larder_protocol::Address;
use larder_store::{Options, SledEngine};
use tokio::runtime::Runtime;

use crate::wallet::runtime;

/// The seed of every one of them.
pub(crate) const SEED: [u8; 32] = [5; 32];

pub(crate) struct Served {
    pub(crate) address: Address,
    service: Service,
    answering: JoinHandle<()>,
    runtime: Runtime,
}

impl Served {
    /// With the default prices. `answer` says what is answered, if anything is.
    pub(crate) fn start(
        folder: &Path,
        lsp: PeerAddress,
        till: Arc<dyn Till>,
        mut answer: impl FnMut(&Desk, &[u8]) -> Option<Vec<u8>> + Send + 'static,
    ) -> Self {
        let config = Config::load(None, Some(folder), []).expect("the defaults");
        let options = Options {
            free_space_floor: 0,
            ..Options::default()
        };
        let engine = SledEngine::open(&folder.join("store"), options).expect("a store");
        let identity = Identity::from_seed(SEED);
        let mut onion = ServiceConfig::new(identity.onion_seed());
        onion.connect_to = vec![lsp.into()];
        let runtime = runtime();
        let (service, intake) = runtime.block_on(async {
            let (service, intake) = Service::start(onion).await.expect("it does not listen");
            service.wait_connected().await;
            (service, intake)
        });
        let sale = Some(Sale {
            offer: config.offer,
            till,
        });
        let (breakglass, clock) = (config.breakglass, Arc::new(SystemClock));
        let desk = Desk::open(Arc::new(engine), identity, sale, breakglass, clock);
        let desk = desk.expect("a store of ours");
        let address = Address::new(desk.server_key(), service.node_id(), vec![lsp.node_id]);
        let answering = std::thread::spawn(move || {
            let mut honoured = Vec::new();
            while let Some(incoming) = intake.recv() {
                let answer = answer(&desk, &incoming.contents);
                // An epoch may have begun.
                if desk.honoured() != honoured {
                    honoured = desk.honoured();
                    intake.honour(&honoured);
                }
                if let Some(contents) = answer {
                    // A client that is gone needs no answer.
                    let _ = incoming.responder.answer(&contents);
                }
            }
        });
        Served {
            address,
            service,
            answering,
            runtime,
        }
    }

    /// Ends it; then another one may have its store.
    pub(crate) fn end(self) {
        self.runtime.block_on(self.service.shutdown());
        self.answering.join().expect("no panic");
    }
}
