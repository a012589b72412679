//! Buying tokens, with an invoice or a voucher, and going on after any interruption.

use std::collections::BTreeSet;
use std::future::Future;
use std::task::{Context, Waker};

use larder_credentials::ClaimTag;
use larder_protocol::{Call, Op, Refusal};
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
    // The terms, and once more to compare them.
    assert_eq!(shelf.log().len(), 2);
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
async fn a_voucher_whose_purchase_was_cut_short_is_not_used_up() {
    let shelf = PaidShelf::new();
    let journal = MemoryJournal::new();
    let means = || Means::Voucher(shelf.voucher(1, 100));
    let provider = open(&shelf, journal.clone(), 1).await.expect("honest");
    // It took the voucher, and nobody heard.
    shelf.loses_answers_to(Some(Op::Quote));
    assert!(provider.buy(100, means()).await.is_err());
    shelf.loses_answers_to(None);
    drop(provider);
    let provider = open(&shelf, journal, 2).await.expect("honest");
    let bought = provider.buy(100, means()).await.expect("its own");
    assert_eq!(bought.stage, Stage::Collected);
    assert_eq!(provider.purchases(), []);
    assert_eq!((tokens(&provider), shelf.outstanding()), (100, 100));
}

#[tokio::test]
async fn what_may_have_been_paid_for_is_not_given_up_when_it_is_sold_no_more() {
    let shelf = PaidShelf::new();
    let provider = open(&shelf, MemoryJournal::new(), 1).await.expect("honest");
    let means = || Means::Voucher(shelf.voucher(1, 100));
    // It took the voucher, and nobody heard.
    shelf.loses_answers_to(Some(Op::Quote));
    assert!(provider.buy(100, means()).await.is_err());
    shelf.loses_answers_to(None);
    for refusal in [Refusal::NotOffered, Refusal::Halted, Refusal::Busy] {
        shelf.refuses_quote(refusal.clone());
        let bought = provider.buy(100, means()).await;
        assert_eq!(bought, Err(RecoveryError::Refused(refusal)));
        assert_eq!(provider.purchases().len(), 1);
    }
    let bought = provider.buy(100, means()).await.expect("its own");
    assert_eq!(bought.stage, Stage::Collected);
    assert_eq!((tokens(&provider), shelf.outstanding()), (100, 100));
}

#[tokio::test]
async fn a_purchase_that_nobody_was_asked_to_pay_is_over_when_it_is_not_sold() {
    let shelf = PaidShelf::new();
    let provider = open(&shelf, MemoryJournal::new(), 1).await.expect("honest");
    shelf.refuses_quote(Refusal::NotOffered);
    let bought = provider.buy(100, Means::Lightning).await;
    assert_eq!(bought, Err(RecoveryError::Refused(Refusal::NotOffered)));
    assert_eq!(provider.purchases(), []);
}

#[tokio::test]
async fn a_purchase_is_over_when_its_invoice_is_unknown_and_too_old_to_be_paid() {
    let shelf = PaidShelf::new();
    let provider = open(&shelf, MemoryJournal::new(), 1).await.expect("honest");
    let purchase = provider.buy(100, Means::Lightning).await.expect("sold");
    for (now, left) in [(999, 1), (1_000, 0)] {
        provider.upkeep(now).await.expect("honest");
        shelf.refuses_quote(Refusal::UnknownClaim);
        let collected = provider.collect(&purchase).await;
        let unknown = RecoveryError::Refused(Refusal::UnknownClaim);
        assert_eq!(collected, Err(unknown));
        assert_eq!(provider.purchases().len(), left);
    }
}

#[tokio::test]
async fn no_refusal_ends_a_purchase_that_was_paid() {
    for refusal in [Refusal::UnknownClaim, Refusal::AlreadyClaimed] {
        let shelf = PaidShelf::new();
        let provider = open(&shelf, MemoryJournal::new(), 1).await.expect("honest");
        provider.upkeep(999).await.expect("honest");
        let purchase = provider.buy(100, Means::Lightning).await.expect("sold");
        let refused = RecoveryError::Refused(refusal.clone());
        shelf.pay();
        shelf.refuses_quote(refusal.clone());
        assert_eq!(provider.collect(&purchase).await, Err(refused.clone()));
        // Now it says that it is paid, and then that there are no such claims.
        shelf.refuses(1, refusal);
        assert_eq!(provider.collect(&purchase).await, Err(refused));
        provider.collect(&purchase).await.expect("paid");
        assert_eq!((tokens(&provider), shelf.outstanding()), (100, 100));
    }
}

#[tokio::test]
async fn a_claim_that_cannot_be_collected_keeps_no_other_one_back() {
    let shelf = PaidShelf::new();
    let provider = open(&shelf, MemoryJournal::new(), 1).await.expect("honest");
    let purchase = provider.buy(100, Means::Lightning).await.expect("sold");
    shelf.pay();
    shelf.refuses(1, Refusal::AlreadyClaimed);
    let claimed = RecoveryError::Refused(Refusal::AlreadyClaimed);
    assert_eq!(provider.collect(&purchase).await, Err(claimed));
    assert_eq!(tokens(&provider), 50);
}

#[tokio::test]
async fn a_purchase_that_is_given_up_while_it_is_collected_accuses_nobody() {
    let shelf = PaidShelf::new();
    let provider = open(&shelf, MemoryJournal::new(), 1).await.expect("honest");
    let purchase = provider.buy(100, Means::Lightning).await.expect("sold");
    shelf.pay();
    let mut collect = Box::pin(provider.collect(&purchase));
    let mut cx = Context::from_waker(Waker::noop());
    while shelf.log().last().map(|request| request.call.op()) != Some(Op::Quote)
        || provider.purchases()[0].stage != Stage::Paid
    {
        assert!(collect.as_mut().poll(&mut cx).is_pending());
    }
    // Its claims are on their way; they are of an epoch that is over when they arrive.
    shelf.next_epoch();
    provider.give_up(&purchase).expect("in memory");
    assert!(collect.await.is_ok());
}

#[tokio::test]
async fn a_purchase_goes_on_in_a_new_epoch() {
    let shelf = PaidShelf::new();
    let provider = open(&shelf, MemoryJournal::new(), 1).await.expect("honest");
    let purchase = provider.buy(100, Means::Lightning).await.expect("sold");
    shelf.next_epoch();
    shelf.pay();
    // Its answer is lost, and then the epoch changes under it again.
    shelf.loses_answers_to(Some(Op::Purchase));
    assert!(provider.collect(&purchase).await.is_err());
    shelf.loses_answers_to(None);
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
    // Nothing ties the purchases before the loss to those after it.
    let quoted: BTreeSet<Vec<ClaimTag>> = (shelf.log().into_iter())
        .filter_map(|request| match request.call {
            Call::Quote(quote) => Some(quote.tags),
            _ => None,
        })
        .collect();
    assert_eq!(quoted.len(), 3);
    let tags: BTreeSet<&ClaimTag> = quoted.iter().flatten().collect();
    assert_eq!(tags.len(), quoted.iter().map(Vec::len).sum::<usize>());
}
