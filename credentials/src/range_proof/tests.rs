//! What passes for a range proof and what does not; ours against the library's verifier.

use tari_bulletproofs_plus::range_proof::VerifyAction;

use super::*;
use crate::generators::commit;
use crate::test_scene::plus_order;

const CONTEXT: &[u8] = b"a request";
const WIDTHS: [RangeWidth; 2] = [RangeWidth::Bits32, RangeWidth::Bits64];
use RangeWidth::{Bits32, Bits64};

fn outputs(values: [u64; 2]) -> ([Point; 2], [Scalar; 2]) {
    let blindings = [Scalar::from(11_u64), Scalar::from(12_u64)];
    let outputs = std::array::from_fn(|j| commit(values[j], &blindings[j]).into());
    (outputs, blindings)
}

fn try_proof(width: RangeWidth, values: [u64; 2], seed: u8) -> Result<Vec<u8>, ProofError> {
    let (outputs, blindings) = outputs(values);
    let mut nonces = PrivateRng::from_seed([seed; 32]);
    prove(width, CONTEXT, &outputs, values, &blindings, &mut nonces)
}

fn proof(width: RangeWidth, values: [u64; 2]) -> Vec<u8> {
    try_proof(width, values, 3).unwrap()
}

/// Whether a proof holds, by our verifier and by the library's: they have to agree.
fn holds(width: RangeWidth, context: &[u8], outputs: [Point; 2], proof: &[u8]) -> bool {
    let ours = RangeProof::decode(width, proof).is_ok_and(|proof| {
        let mut batch = RangeBatch::new(width);
        batch.push(context, outputs, proof);
        batch.verify(0..1)
    });
    let theirs = RistrettoRangeProof::from_bytes(proof).is_ok_and(|proof| {
        RistrettoRangeProof::verify_batch(
            &mut [transcript(context)],
            &[statement(width, &outputs).unwrap()],
            &[proof],
            VerifyAction::VerifyOnly,
        )
        .is_ok()
    });
    assert_eq!(ours, theirs);
    ours
}

#[test]
fn the_extremes_of_the_range_are_in_it_and_nothing_beyond() {
    for width in WIDTHS {
        let most = width.largest();
        for values in [[0, most], [most, 0], [0, 0], [most, most], [1, most / 3]] {
            let proof = proof(width, values);
            assert_eq!(proof.len(), width.proof_bytes());
            assert!(holds(width, CONTEXT, outputs(values).0, &proof));
        }
    }
    assert!(try_proof(Bits32, [0, 1 << 32], 3).is_err());
    assert!(try_proof(Bits32, [1 << 32, 0], 3).is_err());
}

#[test]
fn a_negative_amount_has_no_proof() {
    // -1 token is q - 1; a proof for the honest 1 does not cover it.
    let (mut outputs, _) = outputs([1, 2]);
    outputs[0] = (outputs[0].point - GENERATORS.Gg.at.point * Scalar::from(2_u64)).into();
    assert!(!holds(Bits32, CONTEXT, outputs, &proof(Bits32, [1, 2])));
}

#[test]
fn width_count_order_and_context_are_not_the_provers_choice() {
    let narrow = proof(Bits32, [1, 2]);
    let (genuine, _) = outputs([1, 2]);
    assert!(holds(Bits32, CONTEXT, genuine, &narrow));
    assert!(!holds(Bits32, CONTEXT, outputs([1, 3]).0, &narrow));
    assert!(!holds(Bits32, CONTEXT, [genuine[1], genuine[0]], &narrow));
    assert!(!holds(Bits32, b"another request", genuine, &narrow));
    // A proof over 2^64 has more rounds; one that leaves an output out has fewer.
    let wide = proof(Bits64, [1, 1 << 40]);
    assert!(!holds(Bits32, CONTEXT, outputs([1, 1 << 40]).0, &wide));
    assert!(!holds(Bits64, CONTEXT, genuine, &narrow));
    assert!(!holds(Bits32, CONTEXT, genuine, &narrow[..577 - 64]));
}

#[test]
fn our_verifier_and_the_librarys_agree_on_every_flipped_byte() {
    for (width, values) in [(Bits32, [7, 1 << 31]), (Bits64, [7, 1 << 63])] {
        let (outputs, _) = outputs(values);
        let genuine = proof(width, values);
        for place in 0..genuine.len() {
            for bit in [place % 8, (place + 3) % 8] {
                let mut forged = genuine.clone();
                forged[place] ^= 1 << bit;
                assert!(!holds(width, CONTEXT, outputs, &forged));
            }
        }
    }
}

#[test]
fn our_verifier_and_the_librarys_agree_when_parts_change_places() {
    // Every part is well-formed; only the equation can tell.
    let genuine = proof(Bits32, [7, 9]);
    let other = try_proof(Bits32, [7, 9], 4).unwrap();
    let (outputs, _) = outputs([7, 9]);
    assert!(holds(Bits32, CONTEXT, outputs, &other));
    for part in 0..18 {
        let field = 1 + 32 * part..33 + 32 * part;
        let mut spliced = genuine.clone();
        spliced[field.clone()].copy_from_slice(&other[field]);
        assert!(!holds(Bits32, CONTEXT, outputs, &spliced));
    }
}

#[test]
fn one_bad_proof_in_a_batch_does_not_hide_behind_the_others() {
    let good = proof(Bits32, [1, 2]);
    let other = proof(Bits32, [3, 4]);
    let (outputs, _) = outputs([1, 2]);
    // Both ways to sum: with tables and with buckets.
    for size in [2, 5, 9, 20] {
        let batch = |bad: Option<usize>| {
            let mut batch = RangeBatch::new(Bits32);
            for place in 0..size {
                let proof = if Some(place) == bad { &other } else { &good };
                batch.push(CONTEXT, outputs, RangeProof::decode(Bits32, proof).unwrap());
            }
            batch
        };
        assert!(batch(None).verify(0..size));
        for bad in 0..size {
            let batch = batch(Some(bad));
            assert!(!batch.verify(0..size));
            assert_eq!(batch.find_bad(0..batch.len()), [bad]);
        }
    }
}

/// A proof whose 32-byte scalar at this place is changed by a function.
fn with_scalar(proof: &[u8], place: usize, change: impl Fn([u8; 32]) -> [u8; 32]) -> Vec<u8> {
    let mut changed = proof.to_vec();
    let field = &mut changed[place..place + 32];
    let scalar: [u8; 32] = (&*field).try_into().unwrap();
    field.copy_from_slice(&change(scalar));
    changed
}

/// Where `d1`, `r1` and `s1` are.
const SCALARS: [usize; 3] = [1, 1 + 4 * 32, 1 + 5 * 32];

#[test]
fn a_scalar_above_the_order_is_malformed_though_it_means_the_same() {
    let (outputs, _) = outputs([7, 9]);
    let genuine = proof(Bits32, [7, 9]);
    for place in SCALARS {
        let doubled = with_scalar(&genuine, place, plus_order);
        let scalar = |proof: &[u8]| {
            Scalar::from_bytes_mod_order(proof[place..place + 32].try_into().unwrap())
        };
        assert_eq!(scalar(&doubled), scalar(&genuine));
        assert_eq!(
            RangeProof::decode(Bits32, &doubled).err(),
            Some(crate::Malformed::Scalar)
        );
        assert!(!holds(Bits32, CONTEXT, outputs, &doubled));
    }
}

#[test]
fn two_bad_proofs_that_would_cancel_do_not() {
    let (outputs, _) = outputs([1, 2]);
    let good = proof(Bits32, [1, 2]);
    // d1 is hashed into no challenge and enters the sum only as d1·Gh.
    let delta = Scalar::from(5_u64);
    let shifted = |by: Scalar| {
        with_scalar(&good, SCALARS[0], |d1| {
            (Scalar::from_bytes_mod_order(d1) + by).to_bytes()
        })
    };
    let (up, down) = (shifted(delta), shifted(-delta));
    for size in [2, 6] {
        let mut batch = RangeBatch::new(Bits32);
        for place in 0..size {
            let proof = [&up, &down].get(place).copied().unwrap_or(&good);
            batch.push(CONTEXT, outputs, RangeProof::decode(Bits32, proof).unwrap());
        }
        assert!(!batch.verify(0..size));
        assert_eq!(batch.find_bad(0..size), [0, 1]);
    }
}

/// Finds these places among so many, and counts how often the busiest proof was verified
/// and how many verifications there were.
fn search_for(bad: &[usize], size: usize) -> (usize, usize) {
    let mut looked = vec![0; size];
    let mut calls = 0;
    let found = super::find_bad(0..size, HALVINGS, &mut |part| {
        calls += 1;
        looked[part.clone()]
            .iter_mut()
            .for_each(|count| *count += 1);
        !bad.iter().any(|place| part.contains(place))
    });
    assert_eq!(found, bad);
    (looked.into_iter().max().unwrap(), calls)
}

#[test]
fn bad_proofs_cannot_make_an_issuer_verify_again_and_again() {
    let all: Vec<usize> = (0..64).collect();
    let (most, _) = search_for(&all, 64);
    assert_eq!(most, HALVINGS as usize + 2);
    for bad in 0..64 {
        let (most, _) = search_for(&[bad], 64);
        assert!(most <= HALVINGS as usize + 2);
    }
    // Four are verified together, then singly.
    assert_eq!(search_for(&[2], 4), (2, 5));
    // The second half is known to be bad when the first is good: both halves hold four.
    assert_eq!(search_for(&[7], 8), (2, 6));
    assert_eq!(search_for(&[], 64), (1, 1));
}
