//! Buying tokens, with an invoice or a voucher, and going on after any interruption.

use larder_protocol::{Op, Refusal};
use larder_recovery::{Means, MemoryJournal, RecoveryError, Stage};

use crate::paid::{PaidShelf, funded, open, tokens};

#[tokio::test]
async fn an_invoice_is_shown_paid_and_collected_in_as_many_pairs_as_there_are_claims() {
    let shelf = PaidShelf::new();
    let provider = open(&shelf, MemoryJournal::new(), 1).await.expect("honest");
    let purchase = provider.buy(100, Means::Lightning).await.expect("sold");
    let unpaid = Stage::Unpaid {
        request: "lnbc1pay".to_owned(),
        expires: 1_000,
    };
    assert_eq!(purchase.stage, unpaid);
    assert_eq!((purchase.tokens, purchase.pairs), (100, 2));
    // Asking costs nothing and changes nothing.
    assert_eq!(provider.collect(&purchase).await, Ok(purchase.clone()));
    assert_eq!(provider.purchases(), vec![purchase.clone()]);
    shelf.pay();
    let collected = provider.collect(&purchase).await.expect("paid");
    assert_eq!(collected.stage, Stage::Collected);
    assert_eq!(provider.purchases(), []);
    assert_eq!(provider.collect(&purchase).await, Ok(collected));
    assert_eq!(tokens(&provider), 100);
    assert_eq!(shelf.outstanding(), 100);
    assert_eq!(shelf.performed(Op::Purchase), 2);
}

#[tokio::test]
async fn what_is_not_sold_is_not_asked_for() {
    let shelf = PaidShelf::new();
    let provider = open(&shelf, MemoryJournal::new(), 1).await.expect("honest");
    for amount in [0, 1, 49, 24 * 17, 500 * 17] {
        let bought = provider.buy(amount, Means::Lightning).await;
        let not_sold = RecoveryError::NotSold {
            tokens: amount,
            denominations: vec![24, 50, 500],
        };
        assert_eq!(bought, Err(not_sold));
    }
    assert_eq!(shelf.log().len(), 1);
}

#[tokio::test]
async fn a_voucher_buys_once_exactly_what_it_is_worth_where_it_was_made() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 100).await;
    let mut forged = shelf.voucher(2, 100);
    forged.mac[0] ^= 1;
    let cases = [
        (shelf.voucher(1, 100), 100, Refusal::VoucherUsed),
        (shelf.voucher(2, 100), 50, Refusal::BadVoucher),
        (forged, 100, Refusal::BadVoucher),
    ];
    for (voucher, amount, refusal) in cases {
        let bought = provider.buy(amount, Means::Voucher(voucher)).await;
        assert_eq!(bought, Err(RecoveryError::Refused(refusal)));
        assert_eq!(provider.purchases(), []);
    }
    assert_eq!(tokens(&provider), 100);
}

#[tokio::test]
async fn a_purchase_goes_on_in_a_new_epoch() {
    let shelf = PaidShelf::new();
    let provider = open(&shelf, MemoryJournal::new(), 1).await.expect("honest");
    let purchase = provider.buy(100, Means::Lightning).await.expect("sold");
    shelf.next_epoch();
    shelf.pay();
    // Its answer is lost, and then the epoch changes under it again.
    shelf.loses_answers(21);
    assert!(provider.collect(&purchase).await.is_err());
    shelf.loses_answers(0);
    shelf.next_epoch();
    let collected = provider.collect(&purchase).await.expect("paid");
    assert_eq!(collected.stage, Stage::Collected);
    assert_eq!((tokens(&provider), shelf.outstanding()), (100, 100));
}

#[tokio::test]
async fn a_purse_that_lost_its_journal_buys_with_claims_that_were_not_used() {
    let shelf = PaidShelf::new();
    funded(&shelf, 100).await;
    let provider = open(&shelf, MemoryJournal::new(), 2).await.expect("honest");
    let means = Means::Voucher(shelf.voucher(2, 50));
    let bought = provider.buy(50, means).await.expect("a good voucher");
    assert_eq!(bought.stage, Stage::Collected);
    let mut purchase = provider.buy(50, Means::Lightning).await.expect("sold");
    shelf.pay();
    purchase = provider.collect(&purchase).await.expect("paid");
    assert_eq!(purchase.stage, Stage::Collected);
    assert_eq!(tokens(&provider), 100);
    assert_eq!(shelf.outstanding(), 200);
}
