//! Crashes of a restore, and of a wallet that stays restorable, at every step.

use std::collections::BTreeSet;
use std::sync::Arc;

use larder_protocol::Op;
use larder_recovery::MemoryJournal;
use larder_recovery::breakglass::{Restore, Wrote};

use crate::crashes::{Life, MortalJournal, MortalTransport, When};
use crate::loss::{Wallet, has_all, keys_looked_up, read};
use crate::paid::{LOOKUP, PaidShelf, open_over};
use crate::shelf::root;

/// Restores from a storage node with one crash behind this step. Says whether there was one, and what it
/// cost beside look-ups, none of which is paid for twice.
async fn live(shelf: &PaidShelf, keys: u8, step: u32) -> (bool, u64) {
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
            let restore = Restore::begin(&root(1), provider, journal(&kept))?;
            has_all(&read(&restore).await?, keys).await;
            restore.finish()
        };
        match done.await {
            Ok(()) => {
                // How far look-ups run ahead of the end is chance.
                let looked_up = keys_looked_up(&shelf.log()[from..]);
                let distinct: BTreeSet<_> = looked_up.iter().collect();
                assert_eq!(shelf.performed(Op::Lookup) - paid, distinct.len(), "{step}");
                let fees = before - shelf.outstanding() - LOOKUP * distinct.len() as u64;
                return (died || life.is_over(), fees);
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
    let (_, fees) = live(&shelf.fork(), keys, u32::MAX).await;
    let mut steps = 0;
    for step in 1.. {
        let (died, fees_now) = live(&shelf.fork(), keys, step).await;
        assert_eq!(fees_now, fees, "{step}");
        if !died {
            steps = step;
            break;
        }
    }
    assert!(steps > 40, "{steps}");
}
