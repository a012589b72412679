//! Epochs: what is moved when, what expires, and what terms may not become.

use std::collections::BTreeSet;

use larder_protocol::{Call, Op, Refusal, issuer_commitment};
use larder_recovery::{Looked, MemoryJournal, RecoveryError, Upkeep, Written};

use crate::paid::{
    EPOCH_SECONDS, FEE, FIRST_EPOCH, INSERT, LOOKUP, PaidShelf, Trick, funded, open, pair, tokens,
};

const QUARTER: u64 = EPOCH_SECONDS as u64 / 4;

#[tokio::test]
async fn each_pair_is_moved_at_a_time_of_its_own_in_the_first_quarter_of_an_epoch() {
    let shelf = PaidShelf::new();
    let (provider, journal) = funded(&shelf, 500).await;
    assert_eq!(provider.upkeep(1_000).await, Ok(Upkeep::default()));
    shelf.next_epoch();
    let (mut now, mut times) = (50_000, BTreeSet::new());
    while let Some(next) = provider.upkeep(now).await.expect("honest").next {
        assert!((50_000..=50_000 + QUARTER).contains(&next) && next > now);
        times.insert(next);
        // A second before, nothing is due; and a restart does not forget when.
        let early = provider.upkeep(next - 1).await.expect("honest");
        assert_eq!(
            early,
            Upkeep {
                next: Some(next),
                ..Upkeep::default()
            }
        );
        let reopened = open(&shelf, journal.clone(), next).await.expect("honest");
        assert_eq!(reopened.upkeep(next - 1).await, Ok(early));
        now = next;
    }
    assert_eq!(shelf.performed(Op::Reissue), 10);
    assert!(times.len() > 5, "{times:?}");
    let holdings = provider.purse().expect("given").holdings();
    assert_eq!(holdings.by_epoch, [(FIRST_EPOCH + 1, 500)].into());
    assert_eq!(holdings.pairs, 10);
}

#[tokio::test]
async fn a_clock_that_was_days_off_when_an_epoch_was_first_seen_puts_nothing_off() {
    let days = 10 * 24 * 60 * 60;
    let now = 2 * days;
    for wrong in [now + days, now - days] {
        let shelf = PaidShelf::new();
        let (provider, journal) = funded(&shelf, 100).await;
        shelf.next_epoch();
        provider.upkeep(wrong).await.expect("honest");
        // The clock is put right, and the program may have ended between.
        drop(provider);
        let provider = open(&shelf, journal, now).await.expect("honest");
        let mut last = now;
        while let Some(next) = provider.upkeep(last).await.expect("honest").next {
            assert!(next <= now + 2 * QUARTER, "{wrong}: {next}");
            last = next;
        }
        let holdings = provider.purse().expect("given").holdings();
        assert_eq!(holdings.by_epoch, [(FIRST_EPOCH + 1, 100)].into());
    }
}

#[tokio::test]
async fn pairs_that_are_all_due_are_moved_one_a_call_at_times_drawn_apart() {
    let shelf = PaidShelf::new();
    let (provider, journal) = funded(&shelf, 500).await;
    shelf.next_epoch();
    provider.upkeep(50_000).await.expect("honest");
    let moved = shelf.performed(Op::Reissue);
    assert!(moved <= 1);
    let (mut now, mut pauses) = (50_000 + QUARTER, BTreeSet::new());
    for left in (1..10 - moved as u64).rev() {
        let done = provider.upkeep(now).await.expect("honest");
        assert_eq!((done.reissued, done.waiting), (1, left), "{done:?}");
        // Whoever asks again a moment later is told to wait; not so whoever has come back.
        let next = done.next.expect("one is left");
        for soon in [now, next - 1] {
            let again = provider.upkeep(soon).await.expect("honest");
            assert_eq!((again.reissued, again.next), (0, Some(next)));
        }
        pauses.insert(next - now);
        now = next;
    }
    assert!(pauses.len() > 5, "{pauses:?}");
    assert!(now < 50_000 + 2 * QUARTER, "{now}");
    drop(provider);
    let provider = open(&shelf, journal, 2).await.expect("honest");
    let last = provider.upkeep(now).await.expect("honest");
    assert_eq!((last.reissued, last.waiting, last.next), (1, 0, None));
    assert_eq!(
        provider.purse().expect("given").holdings().by_epoch.len(),
        1
    );
}

/// A wallet of ten pairs that runs so many times an epoch, a process each, for four epochs. Returns the most pairs that
/// one of them has moved.
async fn largest_burst(calls: u64) -> u64 {
    let shelf = PaidShelf::new();
    let (provider, journal) = funded(&shelf, 500).await;
    drop(provider);
    let (epoch, mut now, mut largest) = (u64::from(EPOCH_SECONDS), 50_000, 0);
    for round in 0..4 {
        shelf.next_epoch();
        let begun = now;
        for call in 0..calls {
            now = begun + (call * epoch + epoch / 3) / calls;
            let seed = 2 + round * calls + call;
            let provider = open(&shelf, journal.clone(), seed).await.expect("honest");
            let first = provider.resume(now).await.expect("honest").reissued;
            let then = provider.tend(now).await.expect("honest").reissued;
            largest = largest.max(first + then);
        }
        now = begun + epoch;
    }
    let provider = open(&shelf, journal, 1).await.expect("honest");
    let holdings = provider.purse().expect("given").holdings();
    assert_eq!((holdings.tokens, holdings.expired), (500, 0), "{calls}");
    assert_eq!(shelf.outstanding(), 500);
    largest
}

#[tokio::test]
async fn a_call_in_each_epoch_loses_nothing_and_as_many_as_there_are_pairs_move_one_each() {
    // One sees the epoch begin when it comes, and moves all of it with the next one: those tokens would be lost.
    assert_eq!(largest_burst(1).await, 10);
    // The three behind that move one each, and the next one all that is left.
    assert_eq!(largest_burst(4).await, 7);
    // Those behind the first quarter suffice.
    assert_eq!(largest_burst(14).await, 1);
}

#[tokio::test]
async fn what_the_terms_say_the_next_epoch_refuses_is_moved_at_once_and_nothing_else() {
    // How old the credentials are, in epochs, and how many earlier ones the next epoch takes.
    for (age, takes, at_once) in [(1, 1, true), (1, 2, false), (2, 2, true), (2, 3, false)] {
        let shelf = PaidShelf::new();
        let (provider, _) = funded(&shelf, 500).await;
        (0..age).for_each(|_| shelf.next_epoch());
        shelf.with_record(|record| {
            record.tariff.as_mut().expect("prices").next_takes = takes;
        });
        // When the epoch is seen first, few are due; what is moved at once is moved in one go.
        let done = provider.upkeep(1_000).await.expect("honest");
        assert_eq!(done.reissued > 1, at_once, "{age} {takes}: {done:?}");
    }
}

#[tokio::test]
async fn credentials_of_the_oldest_epoch_are_moved_at_once() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 100).await;
    shelf.next_epoch();
    shelf.next_epoch();
    let done = provider.upkeep(1_000).await.expect("honest");
    assert_eq!((done.reissued, done.next), (2, None));
    shelf.next_epoch();
    assert_eq!(tokens(&provider), 100);
    assert_eq!(provider.lookup(pair(1).0).await, Ok(Looked::Absent));
    assert_eq!(shelf.outstanding(), tokens(&provider));
}

#[tokio::test]
async fn old_credentials_pay_until_they_expire_and_then_it_says_how_many_are_lost() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 100).await;
    shelf.next_epoch();
    shelf.next_epoch();
    assert_eq!(provider.lookup(pair(1).0).await, Ok(Looked::Absent));
    assert_eq!(tokens(&provider), 100 - LOOKUP);
    shelf.next_epoch();
    assert_eq!(provider.lookup(pair(1).0).await, Ok(Looked::Absent));
    let holdings = provider.purse().expect("given").holdings();
    // One pair was moved by the look-up that it paid for.
    assert_eq!((holdings.expired, holdings.tokens), (50, 50 - 2 * LOOKUP));
}

#[tokio::test]
async fn an_epoch_that_changes_under_a_request_costs_nothing_and_shows_no_other_pair() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 500).await;
    shelf.next_epoch();
    let arrived = shelf.log().len();
    let (key, blob) = pair(1);
    assert_eq!(provider.insert(key, blob).await, Ok(Written::New));
    assert_eq!(tokens(&provider), 500 - INSERT);
    let serials: Vec<_> = shelf.log()[arrived..]
        .iter()
        .filter(|request| matches!(request.call, Call::Insert(_)))
        .map(|request| match &request.payment {
            larder_protocol::Payment::Credentials(core) => {
                let service = shelf.record().service();
                let core = larder_credentials::Request::decode(&service, core).expect("a core");
                *core.references()
            }
            larder_protocol::Payment::None => panic!("an insert is paid"),
        })
        .collect();
    assert_eq!(serials.len(), 2);
    assert_eq!(serials[0], serials[1]);
}

#[tokio::test]
async fn a_storage_node_between_two_epochs_is_busy_and_not_dishonest() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 50).await;
    let (key, blob) = pair(1);
    shelf.enters_epoch();
    let written = provider.insert(key, blob.clone()).await;
    assert_eq!(written, Err(RecoveryError::Refused(Refusal::Busy)));
    shelf.publishes();
    assert_eq!(provider.insert(key, blob).await, Ok(Written::New));
    assert_eq!(tokens(&provider), 50 - INSERT);
    assert_eq!(shelf.outstanding(), tokens(&provider));
}

#[tokio::test]
async fn a_request_from_before_an_epoch_is_answered_or_released_in_it() {
    for performed in [true, false] {
        let shelf = PaidShelf::new();
        let (provider, journal) = funded(&shelf, 50).await;
        let (key, blob) = pair(1);
        if performed {
            shelf.loses_answers(20);
        } else {
            shelf.loses_requests(20);
        }
        assert!(provider.insert(key, blob.clone()).await.is_err());
        drop(provider);
        shelf.next_epoch();
        let provider = open(&shelf, journal, 2).await.expect("honest");
        let done = provider.upkeep(1_000).await.expect("honest");
        assert_eq!(done.settled, 1);
        assert_eq!(tokens(&provider), 50 - if performed { INSERT } else { 0 });
        assert_eq!(shelf.has(&key), performed);
        assert_eq!(provider.insert(key, blob).await, Ok(Written::New));
        assert_eq!(tokens(&provider), 50 - INSERT);
        assert_eq!(shelf.outstanding(), tokens(&provider));
    }
}

#[tokio::test]
async fn upkeep_gathers_when_no_two_credentials_could_pay_for_an_insert() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 48).await;
    for _ in 0..7 {
        provider.lookup(pair(1).0).await.expect("enough");
    }
    // What was evened out is eight in each now.
    provider.lookup(pair(1).0).await.expect("enough");
    assert_eq!(tokens(&provider), 32);
    assert_eq!(
        provider.upkeep(1_000).await.map(|done| done.gathered),
        Ok(1)
    );
    assert_eq!(
        provider.upkeep(1_000).await.map(|done| done.gathered),
        Ok(0)
    );
    assert_eq!(tokens(&provider), 32 - FEE);
    let arrived = shelf.log().len();
    provider.insert(pair(1).0, pair(1).1).await.expect("enough");
    assert_eq!(shelf.log().len(), arrived + 1);
    // What is left would not make an insert: nothing is gathered in vain.
    assert_eq!(
        provider.upkeep(1_000).await.map(|done| done.gathered),
        Ok(0)
    );
    assert_eq!(tokens(&provider), shelf.outstanding());
}

#[tokio::test]
async fn what_a_new_epoch_moves_anyway_is_gathered_for_nothing() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 48).await;
    for _ in 0..8 {
        provider.lookup(pair(1).0).await.expect("enough");
    }
    shelf.next_epoch();
    provider.upkeep(1_000).await.expect("honest");
    provider.insert(pair(1).0, pair(1).1).await.expect("enough");
    assert_eq!(shelf.performed(Op::Transfer), 0);
    assert_eq!(tokens(&provider), 32 - INSERT);
}

#[tokio::test]
async fn an_epoch_that_changes_under_a_gathering_fails_no_insert() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 48).await;
    for _ in 0..8 {
        provider.lookup(pair(1).0).await.expect("enough");
    }
    // The transfer is refused, and what it was to gather is moved for nothing.
    shelf.next_epoch();
    let written = provider.insert(pair(1).0, pair(1).1).await;
    assert_eq!(written, Ok(Written::New));
    assert_eq!(tokens(&provider), 32 - INSERT);
    assert_eq!(shelf.outstanding(), tokens(&provider));
}

#[tokio::test]
async fn an_epoch_that_changes_under_an_upkeep_does_not_end_it() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 100).await;
    shelf.next_epoch();
    let before = provider.upkeep(1_000).await.expect("honest").reissued;
    shelf.next_epoch();
    let done = provider.tend(1_000 + QUARTER).await.expect("honest");
    // What is left of the first epoch would be over with the next one.
    assert_eq!(before + done.reissued, 2);
    let holdings = provider.purse().expect("given").holdings();
    assert!(!holdings.by_epoch.contains_key(&FIRST_EPOCH));
    assert_eq!((holdings.tokens, holdings.in_flight), (100, 0));
}

#[tokio::test]
async fn a_request_that_cannot_be_settled_does_not_keep_the_others_from_being_moved() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 500).await;
    shelf.tricks(Some(Trick::GivesBack(1)));
    assert!(provider.insert(pair(1).0, pair(1).1).await.is_err());
    shelf.tricks(None);
    shelf.next_epoch();
    shelf.next_epoch();
    let result = provider.upkeep(1_000).await;
    assert!(matches!(result, Err(RecoveryError::Misbehaved(_))));
    assert_eq!(shelf.performed(Op::Reissue), 9);
}

#[tokio::test]
async fn keys_and_passes_that_break_a_commitment_and_keys_that_change_while_they_live_are_refused()
{
    type Change = fn(&mut larder_protocol::record::Tariff);
    let changes: [(Change, bool); 6] = [
        // The keys of the new epoch are not those that were committed to.
        (
            |tariff| tariff.issuers[2] = other(&tariff.issuers, 2),
            false,
        ),
        // Those of an epoch that is live already are other ones.
        (
            |tariff| tariff.issuers[1] = other(&tariff.issuers, 1),
            false,
        ),
        // The pass of the new epoch is not the one that was committed to.
        (
            |tariff| tariff.passes.as_mut().expect("passes")[0][0] ^= 1,
            false,
        ),
        // There is none any more.
        (|tariff| tariff.passes = None, false),
        // The oldest epoch of which it had said that this one takes its credentials is closed.
        (|tariff| _ = tariff.issuers.remove(0), false),
        // Prices may change.
        (|tariff| tariff.prices.lookup += 1, true),
    ];
    for (change, passes) in changes {
        for restart in [false, true] {
            let shelf = PaidShelf::new();
            let (provider, journal) = funded(&shelf, 100).await;
            shelf.next_epoch();
            shelf.with_record(|record| change(record.tariff.as_mut().expect("prices")));
            let result = match restart {
                false => provider.upkeep(1_000).await.map(drop),
                true => open(&shelf, journal, 2).await.map(drop),
            };
            match passes {
                true => assert_eq!(result, Ok(())),
                false => assert!(matches!(result, Err(RecoveryError::Contradicted { .. }))),
            }
        }
    }
}

/// The same epoch with the points of the epoch before.
fn other(issuers: &[[u8; 68]], at: usize) -> [u8; 68] {
    let mut bytes = issuers[at - 1];
    bytes[..4].copy_from_slice(&issuers[at][..4]);
    assert_ne!(issuer_commitment(&bytes), issuer_commitment(&issuers[at]));
    bytes
}

#[tokio::test]
async fn a_storage_node_that_goes_back_in_time_is_found_out_after_a_restart() {
    let shelf = PaidShelf::new();
    let journal = MemoryJournal::new();
    let before = shelf.record();
    shelf.next_epoch();
    let provider = open(&shelf, journal.clone(), 1).await.expect("honest");
    provider.compare_terms().await.expect("honest");
    drop(provider);
    shelf.with_record(|record| *record = before);
    let reopened = open(&shelf, journal, 2).await.map(drop);
    assert!(matches!(reopened, Err(RecoveryError::Misbehaved(_))));
}
