//! Every answer is proven or refused.

use std::sync::Arc;

use larder_recovery::{Looked, Provider, RecoveryError, Sequence, Transport, Walk, Written};

use crate::shelf::{Lie, Shelf, root};

const LIES: [Lie; 7] = [
    Lie::NoReceipt,
    Lie::ForeignReceipt,
    Lie::OldReceipt,
    Lie::UnpublishedTerms,
    Lie::UnsignedAbsent,
    Lie::AnotherOperation,
    Lie::Garbage,
];

fn misbehaved<T: std::fmt::Debug>(result: Result<T, RecoveryError>, lie: Lie) {
    assert!(
        matches!(result, Err(RecoveryError::Misbehaved(_))),
        "{lie:?}: {result:?}"
    );
}

#[tokio::test]
async fn no_lie_passes_for_an_answer_of_any_operation() {
    for lie in LIES {
        let shelf = Shelf::new();
        let provider = shelf.connect(1).await;
        let mut sequence = Sequence::start(&root(1), provider.clone());
        sequence.append(b"value").await.expect("honest so far");
        let (key, blob) = shelf.blobs().into_iter().next().expect("one blob");
        let (free, keypair) = (crate::shelf::keypair(60), crate::shelf::keypair(61));
        let unused = free.public_key().into();

        shelf.lies(lie);
        if lie == Lie::OldReceipt {
            // The first one has no older receipt to show, and so none at all.
            misbehaved(provider.lookup(key).await, lie);
        }
        misbehaved(provider.lookup(key).await, lie);
        misbehaved(provider.lookup(unused).await, lie);
        misbehaved(provider.insert(unused, blob.clone()).await, lie);
        misbehaved(provider.delete(&keypair, blob.hash()).await, lie);
        misbehaved(
            Walk::new(Sequence::start(&root(1), provider)).next().await,
            lie,
        );
    }
}

#[tokio::test]
async fn terms_that_are_not_signed_by_the_key_in_the_address_are_refused() {
    let (shelf, other) = (Shelf::of(1), Shelf::of(2));
    let transport: Arc<dyn Transport> = Arc::new(other);
    let result = Provider::connect(shelf.address(), transport).await;
    assert!(matches!(result, Err(RecoveryError::Misbehaved(_))));
}

#[tokio::test]
async fn terms_may_change_with_the_epoch_and_not_within_one() {
    let shelf = Shelf::new();
    let provider = shelf.connect(1).await;
    let key = crate::shelf::keypair(60).public_key().into();
    shelf.next_epoch();
    assert_eq!(provider.lookup(key).await, Ok(Looked::Absent));
    assert_eq!(provider.record().epoch, 1);
    let signed = provider.signed_terms();
    assert_eq!(
        signed.verified(provider.server_key()),
        Some(&provider.record())
    );
    shelf.change_terms();
    assert!(matches!(
        provider.lookup(key).await,
        Err(RecoveryError::Contradicted { .. })
    ));
}

#[tokio::test]
async fn a_lost_answer_and_its_retry_write_once_and_say_so() {
    let shelf = Shelf::new();
    let provider = shelf.connect(1).await;
    Sequence::start(&root(1), provider.clone())
        .append(b"value")
        .await
        .expect("honest");
    let (_, blob) = shelf.blobs().into_iter().next().expect("one blob");
    let key = crate::shelf::keypair(60).public_key().into();
    assert_eq!(provider.insert(key, blob.clone()).await, Ok(Written::New));
    assert_eq!(
        provider.insert(key, blob.clone()).await,
        Ok(Written::Already)
    );
}

#[tokio::test]
async fn evidence_convinces_somebody_who_only_knows_the_receipt_key() {
    let shelf = Shelf::new();
    let provider = shelf.connect(1).await;
    let key = crate::shelf::keypair(60).public_key().into();
    let call = larder_protocol::Call::Lookup(larder_protocol::lookup::Lookup { key });
    let (_, evidence) = provider.perform(call, None).await.expect("honest");
    let evidence = evidence.expect("a lookup has evidence");
    assert!(
        evidence
            .receipt
            .proves(&provider.record().receipt_key, &evidence.finding)
    );
}

#[tokio::test]
async fn an_answer_that_was_under_way_while_the_epoch_changed_counts() {
    let shelf = Shelf::new();
    let provider = shelf.connect(1).await;
    let key = crate::shelf::keypair(60).public_key().into();
    shelf.next_epoch();
    assert_eq!(provider.lookup(key).await, Ok(Looked::Absent));
    shelf.lies(Lie::LastEpoch);
    assert_eq!(provider.lookup(key).await, Ok(Looked::Absent));
    shelf.next_epoch();
    shelf.honest();
    assert_eq!(provider.lookup(key).await, Ok(Looked::Absent));
    assert_eq!(provider.record().epoch, 2);
}

#[tokio::test]
async fn an_answer_of_an_epoch_that_nobody_saw_proves_nothing_and_accuses_nobody() {
    let shelf = Shelf::new();
    let provider = shelf.connect(1).await;
    let key = crate::shelf::keypair(60).public_key().into();
    // Two epochs begin while the answer is under way, which is of the first of them.
    shelf.next_epoch();
    shelf.next_epoch();
    shelf.lies(Lie::LastEpoch);
    let looked = provider.lookup(key).await;
    assert!(matches!(looked, Err(RecoveryError::Unreachable(_))));
    assert_eq!(provider.record().epoch, 2);
    shelf.honest();
    assert_eq!(provider.lookup(key).await, Ok(Looked::Absent));
}

#[tokio::test]
async fn a_provider_that_refuses_a_good_delete_or_names_a_phantom_is_caught() {
    let shelf = Shelf::new();
    let provider = shelf.connect(1).await;
    let mut sequence = Sequence::start(&root(1), provider.clone());
    sequence.append(b"value").await.expect("honest");
    shelf.lies(Lie::NoDeletes);
    misbehaved(sequence.delete(0).await, Lie::NoDeletes);
    shelf.lies(Lie::PhantomBlob);
    misbehaved(sequence.append(b"more").await, Lie::PhantomBlob);
}

#[tokio::test]
async fn the_evidence_of_every_answer_can_be_kept() {
    let shelf = Shelf::new();
    let kept = Arc::new(std::sync::Mutex::new(Vec::new()));
    let keep = kept.clone();
    let transport = Arc::new(shelf.clone());
    let provider = Provider::connect(shelf.address(), transport)
        .await
        .expect("honest");
    let provider =
        provider.on_evidence(move |evidence| keep.lock().expect("no panic").push(evidence.clone()));
    let provider = Arc::new(provider);
    let mut sequence = Sequence::start(&root(1), provider.clone());
    sequence.append(b"value").await.expect("honest");
    sequence.delete(0).await.expect("honest");
    let kept = kept.lock().expect("no panic");
    let receipt_key = provider.record().receipt_key;
    assert_eq!(kept.len(), 3, "an insert, a look-up, a delete");
    assert!(
        kept.iter()
            .all(|evidence| evidence.receipt.proves(&receipt_key, &evidence.finding))
    );
}
