//! What a purse counts behind a restore, beside what the ledger holds.

use std::sync::Arc;

use larder_protocol::Op;
use larder_recovery::breakglass::{Extent, Wrote};
use larder_recovery::{Holdings, MemoryJournal, Provider, RecoveryError};

use crate::loss::{START, buy, nothing_left};
use crate::paid::{EARLIER, EPOCH_SECONDS, PaidShelf, open, pair};

/// A wallet in pairs of 50 and 24 that has written its cell.
async fn restorable() -> (PaidShelf, Arc<Provider>) {
    let shelf = PaidShelf::new();
    let provider = open(&shelf, MemoryJournal::new(), 1).await;
    let provider = provider.expect("honest");
    for (id, tokens) in [(1, 100), (2, 48), (3, 200), (4, 24)] {
        buy(&shelf, &provider, id, tokens).await;
    }
    let (mut now, mut wrote) = (START, None);
    let extent = Extent {
        lookups: 4,
        ..Extent::of_blobs(0, 0, vec![shelf.address()])
    };
    while wrote != Some(Wrote::Cell) {
        let standing = provider.stay_restorable(now, &extent).await;
        let standing = standing.expect("honest");
        (now, wrote) = (now.max(standing.next), standing.wrote);
    }
    (shelf, provider)
}

/// What the storage node has whenever the wallet, which spends all it has, has spent what it took off its page
/// last: right before it takes more.
async fn spent_down() -> Vec<PaidShelf> {
    let (shelf, provider) = restorable().await;
    let mut all = vec![shelf.fork()];
    loop {
        let (before, transfers) = (shelf.fork(), shelf.performed(Op::Transfer));
        match provider.lookup(pair(1).0).await {
            Err(RecoveryError::OutOfTokens { .. }) => return all,
            looked => drop(looked.expect("honest")),
        }
        if shelf.performed(Op::Transfer) > transfers {
            all.push(before);
        }
    }
}

fn holdings(provider: &Provider) -> Holdings {
    provider.purse().expect("one was given").holdings()
}

#[tokio::test]
async fn a_purse_counts_no_token_behind_a_restore_that_the_ledger_does_not_hold() {
    let mut alone = 0;
    for (at, world) in spent_down().await.iter().enumerate().step_by(3) {
        for (age, walks) in (0..=EARLIER).flat_map(|age| [(age, false), (age, true)]) {
            let shelf = world.fork();
            (0..age).for_each(|_| shelf.next_epoch());
            let (provider, restore) = nothing_left(&shelf).await;
            let restore = if walks { restore.walking() } else { restore };
            restore.tokens().await.expect("the cell pays");
            restore.finish().expect("in memory");
            let mut now = START;
            for _ in 0..2 {
                provider.upkeep(now).await.expect("honest");
                now += u64::from(EPOCH_SECONDS) / 4;
            }
            let (held, there) = (holdings(&provider), shelf.outstanding());
            assert!(held.tokens <= there, "{at} {age} {walks}: {held:?} {there}");
            assert!(
                !walks || held.tokens == there,
                "{at} {age}: {held:?} {there}"
            );
            // All of it can be moved, so all of it can be spent.
            let epochs: Vec<_> = held.by_epoch.into_keys().collect();
            assert_eq!(epochs, [shelf.record().epoch], "{at} {age} {walks}");
            alone += held.alone;
            (0..=EARLIER).for_each(|_| shelf.next_epoch());
            provider.upkeep(now).await.expect("honest");
            let later = holdings(&provider);
            let counted = (later.tokens, later.alone, later.expired);
            assert_eq!(counted, (0, 0, held.tokens), "{at} {age} {walks}");
        }
    }
    assert!(alone > 0, "no half of a pair was left");
}

#[tokio::test]
async fn what_a_restore_has_not_made_its_own_does_not_count_as_lost_when_its_epoch_ends() {
    for past in [false, true] {
        let (shelf, provider) = restorable().await;
        drop(provider);
        let pass = || (0..=EARLIER).for_each(|_| shelf.next_epoch());
        if past {
            pass();
        }
        let (provider, restore) = nothing_left(&shelf).await;
        // What it has shown to take the reserve is performed, and never answered.
        shelf.loses_answers_to(Some(Op::Transfer));
        assert!(restore.tokens().await.is_err());
        shelf.loses_answers_to(None);
        pass();
        provider.upkeep(START).await.expect("honest");
        let held = holdings(&provider);
        assert_eq!((held.tokens, held.expired), (0, 0), "{past}");
    }
}
