//! Two devices of a wallet that write their cells while an epoch begins.

use std::sync::{Arc, Mutex};

use larder_protocol::{Op, Pass};
use larder_recovery::breakglass::{Extent, Standing};
use larder_recovery::transport::Exchange;
use larder_recovery::{MemoryJournal, Provider, Transport};

use crate::loss::{START, buy};
use crate::paid::{EPOCH_SECONDS, PaidShelf, open, open_over, read};

/// Does what is due, as it comes, until the wallet could be restored.
async fn stays(provider: &Provider, extent: &Extent, mut now: u64) -> Standing {
    loop {
        let standing = provider.stay_restorable(now, extent).await;
        let standing = standing.expect("nobody is at fault");
        if standing.restorable.is_now() {
            return standing;
        }
        now = now.max(standing.next);
    }
}

/// In front of the first cell that goes this way an epoch begins, and another device writes its cell.
struct Overtaken {
    shelf: PaidShelf,
    other: Mutex<Option<(Arc<Provider>, Extent)>>,
}

impl Transport for Overtaken {
    fn exchange(&self, contents: Vec<u8>, pass: Option<Pass>) -> Exchange<'_> {
        Box::pin(async move {
            let is_cell = read(&contents).call.op() == Op::BreakglassPut;
            let take = || self.other.lock().expect("never poisoned").take();
            let other = is_cell.then(take).flatten();
            if let Some((other, extent)) = other {
                self.shelf.next_epoch();
                let now = START + u64::from(EPOCH_SECONDS);
                stays(&other, &extent, now).await;
            }
            self.shelf.exchange(contents, pass).await
        })
    }
}

#[tokio::test]
async fn a_cell_that_another_device_overtakes_in_a_new_epoch_is_written_above_that() {
    let shelf = PaidShelf::new();
    let extent = Extent::of_blobs(0, 10, vec![shelf.address()]);
    let other = open(&shelf, MemoryJournal::new(), 2).await.expect("honest");
    buy(&shelf, &other, 1, 4_000).await;
    let way = Overtaken {
        shelf: shelf.clone(),
        other: Mutex::new(Some((other, extent.clone()))),
    };
    let provider = open_over(&shelf, Arc::new(way), MemoryJournal::new(), 3).await;
    let provider = provider.expect("honest");
    buy(&shelf, &provider, 2, 4_000).await;
    stays(&provider, &extent, START).await;
    let epoch = u64::from(shelf.record().epoch);
    assert_eq!(shelf.cells(), vec![epoch << 16 | 1]);
}
