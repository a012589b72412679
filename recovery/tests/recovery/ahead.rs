//! Exchanges come before they are needed, and not right before an operation.

use futures_util::future::join_all;
use larder_protocol::Op;
use larder_recovery::breakglass::Wrote;

use crate::loss::Wallet;
use crate::paid::{EPOCH_SECONDS, FEE, LOOKUP, pair, tokens};

/// What a wallet does in an epoch: it writes its page and its cell, and reads and stores in front of that, between the
/// two, and behind. Returns how many exchanges came while it read and stored, and how many there were in all.
async fn epoch(wallet: &mut Wallet, at_once: u8) -> [usize; 2] {
    let transfers = |wallet: &Wallet| wallet.shelf.performed(Op::Transfer);
    let (before, mut within) = (transfers(wallet), 0);
    for wrote in [Wrote::Page, Wrote::Cell] {
        wallet.until(wrote).await;
        let before = transfers(wallet);
        for _ in 0..3 {
            wallet.put(1).await;
            let looks = (0..at_once).map(|n| wallet.provider.lookup(pair(n).0));
            assert!(join_all(looks).await.iter().all(Result::is_ok));
        }
        within += transfers(wallet) - before;
    }
    let all = transfers(wallet) - before;
    wallet.shelf.next_epoch();
    wallet.now += u64::from(EPOCH_SECONDS);
    [within, all]
}

#[tokio::test]
async fn a_wallet_in_use_exchanges_nothing_while_it_reads_and_stores() {
    for at_once in [1, 4] {
        let mut wallet = Wallet::new(16, 2).await;
        // Before the first page nothing is listed, and with it so much is off it as was used at once.
        for number in 0..4 {
            let [within, all] = epoch(&mut wallet, at_once).await;
            assert_eq!(within, 0, "{at_once} at once, epoch {number}");
            // As many as it has under way, for a reserve, and for what the page itself is paid with.
            assert!(all <= usize::from(at_once) + 4, "{all} of {at_once}");
        }
        assert_eq!(wallet.shelf.outstanding(), tokens(&wallet.provider));
    }
}

#[tokio::test]
async fn a_wallet_that_does_nothing_exchanges_nothing_ahead() {
    let mut wallet = Wallet::new(16, 2).await;
    let mut all = Vec::new();
    for _ in 0..4 {
        wallet.until(Wrote::Cell).await;
        wallet.shelf.next_epoch();
        wallet.now += u64::from(EPOCH_SECONDS);
        all.push(wallet.shelf.performed(Op::Transfer));
    }
    // What pays for the page and the cell is exchanged, as ever.
    let more = all.windows(2).map(|two| two[1] - two[0]).skip(1).max();
    assert!(more <= Some(2), "{all:?}");
}

#[tokio::test]
async fn when_what_is_ready_is_used_up_more_is_made_ready_behind_it_one_a_call() {
    let mut wallet = Wallet::new(16, 2).await;
    wallet.until(Wrote::Cell).await;
    let now = wallet.now;
    // Some thousand tokens are off the page at most.
    let before = wallet.shelf.performed(Op::Transfer);
    let mut made = 0;
    for _ in 0..40 {
        for _ in 0..10 {
            let looks = (0..4).map(|n| wallet.provider.lookup(pair(n).0));
            assert!(join_all(looks).await.iter().all(Result::is_ok));
        }
        let done = wallet.provider.tend(now).await.expect("honest");
        assert!(done.prepared <= 1);
        made += done.prepared as usize;
    }
    assert!(made > 0);
    let transfers = wallet.shelf.performed(Op::Transfer) - before;
    assert_eq!(transfers, made, "none was made in front of a look-up");
    // The fee is a small part of what was paid.
    assert!(100 * FEE * (transfers as u64) < 5 * 1_600 * LOOKUP);
}
