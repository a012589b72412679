//! What a signer believes that holds the root key, the receipt key, and nothing else.

use std::sync::Arc;

use larder_protocol::ReceiptKey;
use larder_recovery::reach::{Challenge, NotReached, Proof, reach};
use larder_recovery::{Lane, Provider, Purpose, Schedule, Sequence, Slot};

use crate::paid::{LOOKUP, PaidShelf, funded, tokens};
use crate::shelf::{Shelf, keypair, root};

const SLOT: Slot = Slot {
    purpose: Purpose::Main,
    lane: Lane([0; 32]),
    generation: 0,
    index: 0,
};

fn version(index: u64) -> Slot {
    Slot { index, ..SLOT }
}

struct Signer {
    schedule: Schedule,
    receipt_key: ReceiptKey,
}

impl Signer {
    fn of(provider: &Provider) -> Self {
        Signer {
            schedule: Schedule::new(root(1), *provider.server_key()),
            receipt_key: provider.record().receipt_key,
        }
    }

    /// The newest version and its value, if the proof is one.
    fn believes(&self, proof: &Proof, challenge: u8) -> Result<(u64, Vec<u8>), NotReached> {
        let challenge = Challenge([challenge; 32]);
        let reached = proof.verify(&self.schedule, SLOT, &self.receipt_key, challenge)?;
        Ok((reached.version, reached.contents.body))
    }
}

async fn node(shelf: &Shelf, values: u8) -> (Arc<Provider>, Sequence, Signer) {
    let provider = shelf.connect(1).await;
    let mut sequence = Sequence::start(&root(1), provider.clone());
    for value in 0..values {
        sequence.append(&[value]).await.expect("honest");
    }
    let signer = Signer::of(&provider);
    (provider, sequence, signer)
}

#[tokio::test]
async fn a_signer_learns_the_newest_value_with_only_the_receipt_key() {
    let shelf = Shelf::new();
    let (provider, _, signer) = node(&shelf, 3).await;
    let asked = reach(&provider, &signer.schedule, version(2), Challenge([7; 32])).await;
    let proof = asked.expect("honest").expect("it is the newest");
    assert_eq!(signer.believes(&proof, 7), Ok((2, vec![2])));
}

#[tokio::test]
async fn neither_an_older_version_nor_one_that_is_not_there_can_be_proven() {
    let shelf = Shelf::new();
    let (provider, _, signer) = node(&shelf, 3).await;
    for index in [0, 1, 3, u64::MAX] {
        let asked = reach(
            &provider,
            &signer.schedule,
            version(index),
            Challenge([7; 32]),
        )
        .await;
        assert!(asked.expect("honest").is_none(), "{index}");
    }
}

#[tokio::test]
async fn an_answer_to_an_earlier_challenge_fails_and_so_does_a_part_of_one() {
    let shelf = Shelf::new();
    let (provider, mut sequence, signer) = node(&shelf, 1).await;
    let ask = async |index, challenge| {
        let challenge = Challenge([challenge; 32]);
        let asked = reach(&provider, &signer.schedule, version(index), challenge).await;
        asked.expect("honest").expect("it is the newest")
    };
    let old = ask(0, 1).await;
    let same = ask(0, 2).await;
    sequence.append(&[1]).await.expect("honest");
    let new = ask(1, 2).await;
    // Replayed.
    assert_eq!(signer.believes(&old, 2), Err(NotReached::NotHeld));
    // What was true when an older challenge was answered.
    let patched = Proof {
        held: same.held.clone(),
        ..old.clone()
    };
    assert_eq!(signer.believes(&patched, 2), Err(NotReached::NotNewest));
    // Half of it about another version.
    let mixed = Proof {
        next: new.next.clone(),
        ..same.clone()
    };
    assert_eq!(signer.believes(&mixed, 2), Err(NotReached::NotNewest));
    let renamed = Proof {
        version: 1,
        ..same.clone()
    };
    assert_eq!(signer.believes(&renamed, 2), Err(NotReached::NotHeld));
    let swapped = Proof {
        blob: same.blob.clone(),
        ..new.clone()
    };
    assert_eq!(signer.believes(&swapped, 2), Err(NotReached::NotHeld));
    assert_eq!(signer.believes(&new, 2), Ok((1, vec![1])));
}

#[tokio::test]
async fn another_storage_node_another_root_and_another_lane_are_refused() {
    let shelf = Shelf::new();
    let (provider, _, signer) = node(&shelf, 1).await;
    let challenge = Challenge([7; 32]);
    let asked = reach(&provider, &signer.schedule, SLOT, challenge).await;
    let proof = asked.expect("honest").expect("it is the newest");
    let verify = |schedule: &Schedule, slot, key: &ReceiptKey| {
        proof
            .verify(schedule, slot, key, challenge)
            .map(|reached| reached.version)
    };
    let Signer {
        schedule,
        receipt_key,
    } = &signer;
    assert_eq!(verify(schedule, SLOT, receipt_key), Ok(0));
    let not_held = Err(NotReached::NotHeld);
    let elsewhere = keypair(99).public_key().into();
    assert_eq!(verify(schedule, SLOT, &elsewhere), not_held);
    let stranger = Schedule::new(root(2), *provider.server_key());
    assert_eq!(verify(&stranger, SLOT, receipt_key), not_held);
    let lane = Lane([1; 32]);
    assert_eq!(
        verify(schedule, Slot { lane, ..SLOT }, receipt_key),
        not_held
    );
}

#[tokio::test]
async fn bytes_that_are_not_ours_are_no_value_however_well_they_are_signed() {
    let shelf = Shelf::new();
    let (provider, _, signer) = node(&shelf, 1).await;
    let key = signer.schedule.key(&SLOT);
    let mut bytes = shelf.blobs()[&key].as_bytes().to_vec();
    bytes[5_000] ^= 1;
    shelf.tamper(key, Some(bytes.try_into().expect("a blob's length")));
    let asked = reach(&provider, &signer.schedule, SLOT, Challenge([7; 32])).await;
    let proof = asked.expect("honest").expect("something is there");
    assert_eq!(signer.believes(&proof, 7), Err(NotReached::Foreign));
}

#[tokio::test]
async fn a_challenge_costs_two_look_ups_and_a_lost_answer_does_not_change_its_nonce() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 500).await;
    let mut sequence = Sequence::start(&root(1), provider.clone());
    sequence.append(b"value").await.expect("enough tokens");
    let signer = Signer::of(&provider);
    let before = tokens(&provider);
    let ask = |challenge| {
        reach(
            &provider,
            &signer.schedule,
            SLOT,
            Challenge([challenge; 32]),
        )
    };
    let proof = ask(1).await.expect("honest").expect("it is the newest");
    assert_eq!(signer.believes(&proof, 1), Ok((0, b"value".to_vec())));
    assert_eq!(before - tokens(&provider), 2 * LOOKUP);
    // An equal look-up of another challenge is in flight, and is not taken for this one.
    shelf.loses_answers(25);
    assert!(ask(2).await.is_err());
    let proof = ask(3).await.expect("honest").expect("it is the newest");
    assert_eq!(signer.believes(&proof, 3), Ok((0, b"value".to_vec())));
    assert_eq!(before - tokens(&provider), 5 * LOOKUP);
}
