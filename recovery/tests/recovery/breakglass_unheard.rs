//! A cell that was begun, whose answer never came, and then total loss: the storage node holds it, or the
//! one before, or none.

use std::sync::{Arc, Mutex};

use larder_protocol::{Op, Pass};
use larder_recovery::breakglass::Wrote;
use larder_recovery::transport::Exchange;
use larder_recovery::{RecoveryError, Transport, Unreachable};

use crate::loss::{Wallet, buy, has_all, nothing_left, read as restored};
use crate::paid::{EPOCH_SECONDS, PaidShelf, read, tokens};

/// What becomes of a cell on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// It is stored, and answered.
    Heard,
    /// It is stored, and the answer is lost.
    Unheard,
    /// It never arrives.
    Lost,
}

struct Way {
    shelf: PaidShelf,
    cells: Mutex<Fate>,
}

impl Transport for Way {
    fn exchange(&self, contents: Vec<u8>, pass: Option<Pass>) -> Exchange<'_> {
        let is_cell = read(&contents).call.op() == Op::BreakglassPut;
        let fate = *self.cells.lock().expect("no test panics in here");
        Box::pin(async move {
            let silence = Err(Unreachable {
                advice: "no answer came".to_owned(),
            });
            match fate {
                Fate::Lost if is_cell => silence,
                Fate::Unheard if is_cell => self.shelf.exchange(contents, pass).await.and(silence),
                _ => self.shelf.exchange(contents, pass).await,
            }
        })
    }
}

/// A wallet that has begun a cell, its first one or another in the next epoch, and has heard nothing of it.
async fn begun(is_first: bool, fate: Fate) -> Wallet {
    let shelf = PaidShelf::new();
    let way = Arc::new(Way {
        shelf: shelf.clone(),
        cells: Mutex::new(Fate::Heard),
    });
    let mut wallet = Wallet::over(&shelf, way.clone(), 8, 2).await;
    if !is_first {
        wallet.until(Wrote::Cell).await;
        shelf.next_epoch();
        wallet.now += u64::from(EPOCH_SECONDS);
    }
    wallet.until(Wrote::Page).await;
    *way.cells.lock().expect("no test panics in here") = fate;
    loop {
        let extent = wallet.extent();
        let stayed = wallet.provider.stay_restorable(wallet.now, &extent);
        match stayed.await {
            Ok(standing) => {
                assert_eq!(standing.wrote, None);
                wallet.now = wallet.now.max(standing.next);
            }
            Err(error) => {
                assert!(matches!(error, RecoveryError::Unreachable(_)), "{error}");
                return wallet;
            }
        }
    }
}

#[tokio::test]
async fn whichever_cell_is_there_behind_a_put_that_nobody_answered_gives_data_and_tokens_back() {
    for (is_first, fate, cells) in [
        (true, Fate::Unheard, 1),
        (false, Fate::Unheard, 2),
        (false, Fate::Lost, 1),
    ] {
        let wallet = begun(is_first, fate).await;
        let written = wallet.shelf.performed(Op::BreakglassPut);
        assert_eq!(written, cells, "{is_first} {fate:?}");
        // The wallet counts on no cell that it has not heard of, and still does on the one before.
        assert_eq!(wallet.restorable().is_now(), !is_first);
        let (shelf, keys) = wallet.lose();
        for walks in [false, true] {
            let shelf = shelf.fork();
            let (provider, restore) = nothing_left(&shelf).await;
            let restore = if walks { restore.walking() } else { restore };
            has_all(&restored(&restore).await.expect("it pays"), keys).await;
            assert_eq!(restore.providers(), [shelf.address()], "the page is there");
            restore.finish().expect("in memory");
            provider.upkeep(0).await.expect("honest");
            // Unless it walks, not the pairs that were in use, nor a half that is left of one.
            let in_use = if walks { 0 } else { 4 * 500 };
            let (held, there) = (tokens(&provider), shelf.outstanding());
            let found = there.saturating_sub(in_use)..=there;
            assert!(found.contains(&held), "{held} of {there}");
        }
    }
}

#[tokio::test]
async fn a_first_cell_that_never_arrived_is_said_to_be_none_and_bought_tokens_do_as_well() {
    let (shelf, keys) = begun(true, Fate::Lost).await.lose();
    let (provider, restore) = nothing_left(&shelf).await;
    assert_eq!(restore.tokens().await, Err(RecoveryError::NoCell));
    buy(&shelf, &provider, 2, 500).await;
    has_all(&restored(&restore).await.expect("bought"), keys).await;
}
