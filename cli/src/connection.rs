//! A connection to a storage node: circuits through the LSPs, the provider behind them, and the
//! purse that pays it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use larder_onion::{Circuits, CircuitsConfig};
use larder_protocol::Address;
use larder_recovery::{Holdings, OnionTransport, Provider, Purse, RecoveryError, Upkeep};

use crate::error::CliError;
use crate::evidence::Receipts;
use crate::output::{Once, count, merged};
use crate::payer::{Payer, now};

/// A storage node that has answered. No two connections share a node id.
pub(crate) struct Connection {
    circuits: Arc<Circuits>,
    pub(crate) transport: Arc<OnionTransport>,
    pub(crate) provider: Arc<Provider>,
    /// What the purse needed, when there is one; or why it did not get all of it.
    pub(crate) upkeep: Result<Upkeep, RecoveryError>,
    held: u64,
    /// What was known to be another copy's.
    elsewhere: Option<u64>,
}

impl Connection {
    /// Connects; when this returns, the storage node has answered with terms that are its own.
    ///
    /// If it asks for tokens, the purse is open, and what cannot wait is done: requests that
    /// a crash left in flight, tokens that would expire. The rest is [tended to](Connection::tend) behind
    /// what the command is for. What cannot be done keeps nobody from
    /// what he came for. A storage node that serves for free never touches the purse. What it signs
    /// is kept with its receipts. Terms that contradict what an earlier command was shown end it, before anything is paid.
    pub(crate) async fn open(
        config: CircuitsConfig,
        address: Address,
        payer: Option<&Payer>,
        receipts: Option<&Receipts>,
        once: &Once,
    ) -> Result<Self, CliError> {
        let patience = config.deadline;
        let circuits = Arc::new(Circuits::start(config)?);
        let transport = Arc::new(OnionTransport::new(circuits.clone(), &address));
        let connecting = Provider::connect(address, transport.clone());
        let mut provider = telling(&circuits, patience, once, connecting).await?;
        if let Some(receipts) = receipts {
            provider = receipts.watch(provider);
        }
        let (mut upkeep, mut held, mut elsewhere) = (Ok(Upkeep::default()), 0, None);
        if let Some(payer) = payer
            && provider.record().tariff.is_some()
        {
            let purse = payer.open(provider.server_key())?;
            provider = provider.with_purse(purse)?;
        }
        // What an earlier command was shown, by a storage node that did not know whom it showed it.
        let known = receipts.and_then(|receipts| receipts.shown.newest());
        if let Some(signed) = known {
            provider.expects(&signed).await?;
        }
        if provider.purse().is_some() {
            provider.compare_terms().await?;
            // Terms that are new may have ended an epoch; what that costs was not spent here.
            let before = provider.purse().map(Purse::holdings).unwrap_or_default();
            (held, elsewhere) = (before.tokens, before.elsewhere);
            upkeep = match provider.resume(now()).await {
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
            elsewhere,
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
            Some(held) if held.in_flight > 0 => self.provider.resume(now()).await.map(drop),
            _ => Ok(()),
        }
    }

    /// Does for the purse what is due and can wait, a little at a time: a pair is moved into the present epoch, or
    /// exchanged before it is needed. In front of what a command is for it would be known to belong to that.
    pub(crate) async fn tend(&self) -> Result<(), RecoveryError> {
        match self.holdings() {
            Some(_) => self.provider.tend(now()).await.map(drop),
            None => Ok(()),
        }
    }

    /// From now on no more tokens than this are paid; without a number there is no limit.
    pub(crate) fn limit(&self, most: Option<u64>) {
        if let Some(purse) = self.provider.purse() {
            purse.limit(most);
        }
    }

    /// What all of this has cost so far.
    pub(crate) fn bill(&self) -> Bill {
        let holdings = self.holdings();
        let elsewhere = holdings.as_ref().and_then(|holdings| holdings.elsewhere);
        Bill {
            paid: holdings.map(|holdings| {
                let gone = self.provider.purse().map_or(0, Purse::gone);
                (self.held.saturating_sub(gone), holdings.tokens)
            }),
            elsewhere: elsewhere.filter(|_| elsewhere != self.elsewhere),
        }
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

/// What a command has cost.
pub(crate) struct Bill {
    /// Tokens before and after; none where nothing is to be paid.
    paid: Option<(u64, u64)>,
    /// What turned out to be another copy's.
    elsewhere: Option<u64>,
}

impl Bill {
    /// Of several storage nodes.
    pub(crate) fn sum(bills: impl IntoIterator<Item = Bill>) -> Self {
        let sum = |(before, after), (held, left)| (before + held, after + left);
        let mut all = Bill {
            paid: None,
            elsewhere: None,
        };
        for bill in bills {
            all.paid = all.paid.into_iter().chain(bill.paid).reduce(sum);
            let both = all.elsewhere.into_iter().chain(bill.elsewhere);
            all.elsewhere = both.reduce(|one, other| one + other);
        }
        all
    }

    /// A result, with what it has cost.
    pub(crate) fn on(&self, result: serde_json::Value) -> serde_json::Value {
        let Some((before, after)) = self.paid else {
            return result;
        };
        // Below zero when a refund was more than the price.
        let spent = i128::from(before) - i128::from(after);
        let more = serde_json::json!({ "tokens_spent": spent as i64, "tokens_left": after });
        let result = merged(result, more);
        match self.elsewhere {
            None => result,
            Some(tokens) => {
                let more = serde_json::json!({ "used_elsewhere": used_elsewhere(tokens) });
                merged(result, more)
            }
        }
    }

    /// The end of a line.
    pub(crate) fn text(&self) -> String {
        let elsewhere = self.elsewhere.map(used_elsewhere);
        let elsewhere = elsewhere.map_or(String::new(), |told| format!("\n{told}"));
        self.cost() + &elsewhere
    }

    fn cost(&self) -> String {
        match self.paid {
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

/// What it means that tokens were spent by another copy of the purse, and what to do.
pub(crate) fn used_elsewhere(tokens: u64) -> String {
    format!(
        "this purse was also used elsewhere: another copy of the wallet's folder, or a restore from its words, has \
         spent what was in it and holds {} tokens of it. Use one of the two only: make the other one a wallet of \
         its own with `larder init --words` in a new folder, then `larder restore`. What is left here pays on. If the \
         other one is gone for good, `larder purse --take-back` takes back what it left",
        count(tokens)
    )
}
