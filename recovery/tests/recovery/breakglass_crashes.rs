//! Crashes of a restore, and of a wallet that stays restorable, at every step.

use std::collections::BTreeSet;
use std::sync::Arc;

use larder_protocol::Op;
use larder_recovery::breakglass::{Extent, Restore, Wrote};
use larder_recovery::{MemoryJournal, RecoveryError};

use crate::crashes::{Life, MortalJournal, MortalTransport, When, copy};
use crate::loss::{START, Wallet, buy, has_all, keys_looked_up, lost, nothing_left, read};
use crate::paid::{
    DELETE, EARLIER, EPOCH_SECONDS, FEE, LOOKUP, PaidShelf, open, open_over, tokens,
};
use crate::shelf::root;

/// Restores from a storage node with one crash behind this step. Says whether there was one, and then what it
/// cost beside look-ups, none of which is paid for twice, and how many tokens it did not find.
async fn live(shelf: &PaidShelf, keys: u8, step: u32) -> (bool, [u64; 2]) {
    let (from, before, paid) = (
        shelf.log().len(),
        shelf.outstanding(),
        shelf.performed(Op::Lookup),
    );
    let (purse, kept) = (MemoryJournal::new(), MemoryJournal::new());
    let mut life = Life::until(step, When::After);
    let mut died = false;
    loop {
        let journal = |journal: &MemoryJournal| MortalJournal(journal.clone(), life.clone());
        let transport = Arc::new(MortalTransport(shelf.clone(), life.clone()));
        let seed = 100 + shelf.log().len() as u64;
        let done = async {
            let provider = open_over(shelf, transport, journal(&purse), seed).await?;
            let restore = Restore::begin(&root(1), provider.clone(), journal(&kept))?;
            has_all(&read(&restore).await?, keys).await;
            restore.finish()?;
            // Look-ups that ran ahead of the end are settled, and what is of an older epoch is moved.
            for now in [START, START + u64::from(EPOCH_SECONDS) / 4] {
                provider.upkeep(now).await?;
            }
            Ok::<_, RecoveryError>(lost(shelf, &provider))
        };
        match done.await {
            Ok(not_found) => {
                // How far look-ups run ahead of the end is chance.
                let looked_up = keys_looked_up(&shelf.log()[from..]);
                let distinct: BTreeSet<_> = looked_up.iter().collect();
                assert_eq!(shelf.performed(Op::Lookup) - paid, distinct.len(), "{step}");
                let fees = before - shelf.outstanding() - LOOKUP * distinct.len() as u64;
                return (died || life.is_over(), [fees, not_found]);
            }
            Err(error) => assert!(life.is_over() && !died, "{step}: {error}"),
        }
        (died, life) = (true, Life::default());
    }
}

#[tokio::test]
async fn a_crash_behind_any_step_of_a_restore_costs_no_token() {
    let mut wallet = Wallet::new(3, 2).await;
    wallet.until(Wrote::Cell).await;
    let (shelf, keys) = wallet.lose();
    shelf.next_epoch();
    let (_, undisturbed) = live(&shelf.fork(), keys, u32::MAX).await;
    let mut steps = 0;
    for step in 1.. {
        let (died, cost) = live(&shelf.fork(), keys, step).await;
        assert_eq!(cost, undisturbed, "{step}");
        if !died {
            steps = step;
            break;
        }
    }
    assert!(steps > 40, "{steps}");
}

/// What a wallet holds that is kept restorable, in pairs of 50.
const TOKENS: u64 = 200;

/// Look-ups that a restore takes: at the page of an epoch, and at its cell.
const GROWTH: [[u64; 2]; 3] = [[4, 4], [10, 10], [10, 14]];

/// A wallet between two processes that keep it restorable.
struct Kept {
    shelf: PaidShelf,
    journal: MemoryJournal,
    now: u64,
    /// Epochs that it has lived through, and whether the page of this one is written.
    epochs: usize,
    paged: bool,
}

impl Kept {
    /// Another one that has lived through the same.
    fn fork(&self) -> Self {
        Kept {
            shelf: self.shelf.fork(),
            journal: copy(&self.journal),
            ..*self
        }
    }

    /// Does what is due, in a process of its own. Returns whether the cell of this epoch is there.
    async fn stay(&mut self, life: &Life) -> Result<bool, RecoveryError> {
        let extent = Extent::of_blobs(0, 0, vec![self.shelf.address()]);
        let lookups = GROWTH[self.epochs][usize::from(self.paged)];
        let extent = Extent { lookups, ..extent };
        let transport = Arc::new(MortalTransport(self.shelf.clone(), life.clone()));
        let mortal = MortalJournal(self.journal.clone(), life.clone());
        let seed = 100 + self.shelf.log().len() as u64;
        let provider = open_over(&self.shelf, transport, mortal, seed).await?;
        let standing = provider.stay_restorable(self.now, &extent).await?;
        assert_eq!(standing.missing, 0);
        self.paged |= standing.wrote == Some(Wrote::Page);
        self.now = self.now.max(standing.next);
        // One that a process wrote which died is there, too.
        Ok(standing.restorable.epochs == Some(EARLIER))
    }

    /// Does so until that is there; nobody dies.
    async fn until_written(&mut self) {
        while !self.stay(&Life::default()).await.expect("honest") {}
    }

    fn next_epoch(&mut self) {
        self.shelf.next_epoch();
        self.now += u64::from(EPOCH_SECONDS);
        self.epochs += 1;
        self.paged = false;
    }
}

/// The process that does what is due dies behind every step, one world each. In one more world everything is lost at
/// that moment; in this one others do what is due until the cell is there, and pay for nothing twice. Returns how
/// many steps there were.
async fn die_everywhere(wallet: &Kept) -> u32 {
    let mut undisturbed = wallet.fork();
    undisturbed.until_written().await;
    let mut lost_behind = None;
    for step in 1.. {
        let (mut wallet, life) = (wallet.fork(), Life::until(step, When::After));
        let stayed = wallet.stay(&life).await;
        if !life.is_over() {
            assert!(stayed.is_ok(), "{step}: {stayed:?}");
            return step - 1;
        }
        // A restore has what the storage node has, which steps that only write to the journal leave as it is.
        let requests = Some(wallet.shelf.log().len());
        if lost_behind != requests {
            lose(&wallet.shelf.fork(), step).await;
            lost_behind = requests;
        }
        if !stayed.unwrap_or(false) {
            wallet.until_written().await;
        }
        for op in [Op::Insert, Op::BreakglassPut] {
            let performed = undisturbed.shelf.performed(op);
            assert_eq!(wallet.shelf.performed(op), performed, "{op:?} {step}");
        }
        // What was exchanged to pay for a page that was not sent is listed, and that page is deleted.
        let more = undisturbed.shelf.outstanding() - wallet.shelf.outstanding();
        assert!(more <= FEE + DELETE, "{more} {step}");
        let provider = open(&wallet.shelf, wallet.journal, 1).await;
        let provider = provider.expect("honest");
        assert_eq!(tokens(&provider), wallet.shelf.outstanding(), "{step}");
    }
    unreachable!("steps do not end")
}

/// Everything is lost. The reserve of whatever cell is there is not taken, and no token is out of reach.
async fn lose(shelf: &PaidShelf, step: u32) {
    let (provider, restore) = nothing_left(shelf).await;
    match restore.tokens().await {
        Err(RecoveryError::NoCell) => return assert!(shelf.cells().is_empty(), "{step}"),
        found => assert_eq!(found, Ok(()), "{step}"),
    }
    assert!(tokens(&provider) >= 2 * GROWTH[0][0] * LOOKUP, "{step}");
    let walked = restore.walking().tokens().await;
    assert_eq!((walked, lost(shelf, &provider)), (Ok(()), 0), "{step}");
}

#[tokio::test]
async fn a_crash_behind_any_step_of_staying_restorable_puts_no_token_out_of_reach() {
    let (shelf, journal) = (PaidShelf::new(), MemoryJournal::new());
    let provider = open(&shelf, journal.clone(), 1).await.expect("honest");
    buy(&shelf, &provider, 1, TOKENS).await;
    drop(provider);
    let mut wallet = Kept {
        shelf,
        journal,
        now: START,
        epochs: 0,
        paged: false,
    };
    let mut steps = 0;
    while wallet.epochs < GROWTH.len() {
        // What came before this process is the same in all worlds.
        steps += die_everywhere(&wallet).await;
        if wallet.stay(&Life::default()).await.expect("honest") {
            wallet.next_epoch();
        }
    }
    assert!(steps > 120, "{steps}");
}
