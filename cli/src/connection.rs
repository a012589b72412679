//! A connection to a storage node: circuits through the LSPs, the provider behind them, and the
//! purse that pays it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use larder_onion::{Circuits, CircuitsConfig};
use larder_protocol::Address;
use larder_recovery::conviction::Ledger;
use larder_recovery::{Holdings, OnionTransport, Provider, Purse, RecoveryError, Upkeep};

use crate::error::CliError;
use crate::output::{Once, count, merged};
use crate::payer::{Payer, now};
use crate::shown::Shown;

/// A storage node that has answered. No two connections share a node id.
pub(crate) struct Connection {
    circuits: Arc<Circuits>,
    pub(crate) transport: Arc<OnionTransport>,
    pub(crate) provider: Arc<Provider>,
    /// What the purse needed, when there is one; or why it did not get all of it.
    pub(crate) upkeep: Result<Upkeep, RecoveryError>,
    held: u64,
}

impl Connection {
    /// Connects; when this returns, the storage node has answered with terms that are its own.
    ///
    /// If it asks for tokens, the purse is open, and whatever was due for it is done: requests that
    /// a crash left in flight, tokens that would expire. What cannot be done keeps nobody from
    /// what he came for. A storage node that serves for free never touches the purse. What it signs
    /// goes into the ledger. Terms that contradict what an earlier command was shown end it, before anything is paid.
    pub(crate) async fn open(
        config: CircuitsConfig,
        address: Address,
        payer: Option<&Payer>,
        ledger: Option<Arc<Ledger>>,
        shown: &Shown,
        once: &Once,
    ) -> Result<Self, CliError> {
        let patience = config.deadline;
        let circuits = Arc::new(Circuits::start(config)?);
        let transport = Arc::new(OnionTransport::new(circuits.clone(), &address));
        let connecting = Provider::connect(address, transport.clone());
        let mut provider = telling(&circuits, patience, once, connecting).await?;
        if let Some(ledger) = ledger {
            provider = provider.on_evidence(move |evidence| ledger.take(evidence));
        }
        let (mut upkeep, mut held) = (Ok(Upkeep::default()), 0);
        if let Some(payer) = payer
            && provider.record().tariff.is_some()
        {
            let purse = payer.open(provider.server_key())?;
            provider = provider.with_purse(purse)?;
        }
        // What an earlier command was shown, by a storage node that did not know whom it showed it.
        if let Some(signed) = shown.newest() {
            provider.expects(&signed).await?;
        }
        if provider.purse().is_some() {
            provider.compare_terms().await?;
            // Terms that are new may have ended an epoch; what that costs was not spent here.
            held = provider.purse().map_or(0, |purse| purse.holdings().tokens);
            upkeep = match provider.tend(now()).await {
                Err(error @ (RecoveryError::Unreachable(_) | RecoveryError::Journal(_))) => {
                    return Err(error.into());
                }
                done => done,
            };
        }
        Ok(Connection {
            circuits,
            transport,
            provider: Arc::new(provider),
            upkeep,
            held,
        })
    }

    /// What the purse holds; `None` where nothing is to be paid.
    pub(crate) fn holdings(&self) -> Option<Holdings> {
        self.provider.purse().map(Purse::holdings)
    }

    /// Whether the purse suffices for so many deletes, each of which looks first; it does where nothing is to be paid.
    pub(crate) fn can_pay_deletes(&self, deletes: u64) -> bool {
        let Some(prices) = self.provider.record().tariff.map(|tariff| tariff.prices) else {
            return true;
        };
        let price = prices.lookup.saturating_add(prices.delete);
        let affordable = self.holdings().map(|held| held.suffice_for(price));
        affordable.is_some_and(|affordable| affordable >= deletes)
    }

    /// Learns what became of requests that nobody waited for, so that the bill is right.
    pub(crate) async fn settle(&self) -> Result<(), RecoveryError> {
        match self.holdings() {
            Some(held) if held.in_flight > 0 => self.provider.tend(now()).await.map(drop),
            _ => Ok(()),
        }
    }

    /// What all of this has cost so far.
    pub(crate) fn bill(&self) -> Bill {
        Bill(self.holdings().map(|holdings| (self.held, holdings.tokens)))
    }

    /// Leaves the network.
    pub(crate) async fn close(self) {
        let Connection {
            circuits,
            transport,
            provider,
            ..
        } = self;
        drop((transport, provider));
        // A map that is still there holds the circuits, too; then they end with it.
        if let Ok(circuits) = Arc::try_unwrap(circuits).map_err(drop) {
            circuits.shutdown().await;
        }
    }
}

/// Says what keeps a wallet from its LSPs as soon as that is known; it may pass before the time is up.
async fn telling<T>(
    circuits: &Circuits,
    patience: Duration,
    once: &Once,
    connecting: impl Future<Output = T>,
) -> T {
    let mut connecting = pin!(connecting);
    let troubles = tokio::select! {
        done = &mut connecting => return done,
        troubles = circuits.cut_off() => troubles,
    };
    for (lsp, trouble) in troubles {
        once.say(format!(
            "the LSP {lsp} is not connected: {trouble}. Trying for {} seconds",
            patience.as_secs()
        ));
    }
    connecting.await
}

/// Tokens before and after; none where nothing is to be paid.
pub(crate) struct Bill(Option<(u64, u64)>);

impl Bill {
    /// Of several storage nodes.
    pub(crate) fn sum(bills: impl IntoIterator<Item = Bill>) -> Self {
        let paid = bills.into_iter().filter_map(|bill| bill.0);
        Bill(paid.reduce(|(before, after), (held, left)| (before + held, after + left)))
    }

    /// A result, with what it has cost.
    pub(crate) fn on(&self, result: serde_json::Value) -> serde_json::Value {
        let Some((before, after)) = self.0 else {
            return result;
        };
        // Below zero when a refund was more than the price.
        let spent = i128::from(before) - i128::from(after);
        let more = serde_json::json!({ "tokens_spent": spent as i64, "tokens_left": after });
        merged(result, more)
    }

    /// The end of a line.
    pub(crate) fn text(&self) -> String {
        match self.0 {
            None => String::new(),
            Some((before, after)) if after > before => format!(
                "; {} tokens came back, {} left",
                count(after - before),
                count(after)
            ),
            Some((before, after)) => format!(
                "; {} tokens spent, {} left",
                count(before - after),
                count(after)
            ),
        }
    }
}
