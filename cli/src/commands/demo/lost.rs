//! Total loss: what a wallet writes while it has everything, and how it comes back from its words.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use larder_recovery::breakglass::{Extent, Restore};
use larder_recovery::log::map::Map;
use larder_recovery::{FolderJournal, RecoveryError, RootKey};

use super::parties::Parties;
use super::{Books, Phase, compare, failed, held, is_deleted, paid, since, till};
use crate::connection::Connection;
use crate::error::CliError;
use crate::output::{Output, bytes};
use crate::{progress, standing};

/// What there was before the loss.
pub(super) struct Before {
    pub(super) held: u64,
    lookups: u64,
    exchanges: u64,
    refused: u64,
}

/// Sets tokens aside, and writes the page and the cell. The demo does not wait for the pauses in between.
pub(super) async fn prepare(
    map: &Map,
    wallet: &Connection,
    parties: &Parties,
) -> Result<Before, CliError> {
    let extent = Extent::of(map, vec![parties.node.address().clone()]);
    standing::stay(&wallet.provider, &extent, true).await?;
    if !wallet.provider.restorable(&extent)?.is_now() {
        return Err(failed("the wallet is not restorable".to_owned()));
    }
    let (held, seen) = (held(wallet).await?, parties.node.seen());
    let outstanding = till::outstanding(parties)?;
    if outstanding != held {
        return Err(failed(format!(
            "the storage node counts {outstanding} tokens, and the wallet holds {held}"
        )));
    }
    Ok(Before {
        held,
        lookups: seen.lookups,
        exchanges: seen.exchanges,
        refused: seen.already_spent,
    })
}

impl Before {
    /// The books of all of it. The restore cost what the storage node served, or less where a request was sent again, and
    /// what is outstanding besides was in use: a quarter of all at most, and nothing when it walked.
    pub(super) fn check(
        self,
        parties: &Parties,
        bought: u64,
        held: u64,
        retries: u64,
        walked: bool,
    ) -> Result<Books, CliError> {
        let (outstanding, seen) = (till::outstanding(parties)?, parties.node.seen());
        let prices = &parties.config.offer.prices;
        // What the page lists of pairs that were in use is spent: the restore sees that from a refusal, which costs nothing.
        let refused = seen.already_spent - self.refused;
        let exchanges = (seen.exchanges - self.exchanges).saturating_sub(refused);
        let served = (seen.lookups - self.lookups) * prices.lookup + exchanges * prices.transfer;
        let most = if walked { 0 } else { self.held / 4 };
        let is_paid = |paid: u64| paid == served || retries > 0 && paid < served;
        let paid = self.held.checked_sub(outstanding);
        match (paid, outstanding.checked_sub(held)) {
            (Some(paid), Some(not_found)) if is_paid(paid) && not_found <= most => Ok(Books {
                bought,
                before: self.held,
                paid,
                not_found,
                held,
                outstanding,
                walked,
            }),
            _ => Err(failed(format!(
                "of {} tokens {outstanding} are outstanding and {held} came back, for {served}",
                self.held
            ))),
        }
    }
}

/// The wallet has its root key and an address, and nothing else.
pub(super) async fn restore(
    root: &RootKey,
    wallet: &Connection,
    parties: &Parties,
    updates: &[Vec<u8>],
    walk: bool,
    output: &Output,
) -> Result<Phase, CliError> {
    let begun = Instant::now();
    let spent = wallet.transport.spent();
    let left = updates
        .iter()
        .enumerate()
        .filter(|(at, _)| !is_deleted(*at));
    let total: u64 = left.map(|(_, update)| update.len() as u64).sum();
    let kept = FolderJournal::open(parties.restoring_folder()).map_err(RecoveryError::from)?;
    let blobs = Arc::new(Mutex::new(0));
    let heard = blobs.clone();
    let mut restore =
        Restore::begin(root, wallet.provider.clone(), kept)?.on_progress(move |progress| {
            *heard.lock().unwrap_or_else(PoisonError::into_inner) = progress.blobs;
        });
    if walk {
        restore = restore.walking();
    }
    restore.tokens().await?;
    let taken = held(wallet).await?;
    let map = restore.map(&mut super::rng()).await?;
    let bar = progress::bar("restoring", total, output.json);
    compare(&map, updates, |len| {
        bar.inc(len);
        bar.set_message(format!("bytes of {}", bytes(total)));
    })
    .await?;
    bar.finish();
    drop(map);
    restore.finish()?;
    let blobs = *blobs.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Phase {
        name: "restored",
        blobs,
        bytes: total,
        spent: since(spent, wallet.transport.spent()),
        tokens: paid(wallet, taken, 0).await?,
        time: begun.elapsed(),
    })
}
