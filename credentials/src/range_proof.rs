//! Both outputs of a request lie in `[0, 2^n)`: one aggregated Bulletproof+ (§4.3).
//!
//! The commitment bases are exactly `(Gg, Gh)`, so an output *is* the commitment of its
//! range proof. Width and count are constants, never read from a message.
//!
//! The library proves in variable time. That concerns a holder's own device only; an
//! issuer verifies, and handles nothing secret here. Weights of a batch are derived after
//! absorbing the complete proofs of all its members, so no prover can predict them.

use std::ops::Range;
use std::sync::LazyLock;

use curve25519_dalek::RistrettoPoint;
use curve25519_dalek::ristretto::CompressedRistretto;
use curve25519_dalek::scalar::Scalar;
use sigma_proofs::PrivateRng;
use tari_bulletproofs_plus::commitment_opening::CommitmentOpening;
use tari_bulletproofs_plus::errors::ProofError;
use tari_bulletproofs_plus::generators::pedersen_gens::ExtensionDegree;
use tari_bulletproofs_plus::range_parameters::RangeParameters;
use tari_bulletproofs_plus::range_proof::VerifyAction;
use tari_bulletproofs_plus::range_statement::RangeStatement;
use tari_bulletproofs_plus::range_witness::RangeWitness;
use tari_bulletproofs_plus::ristretto::RistrettoRangeProof;
use tari_bulletproofs_plus::{PedersenGens, Transcript};

use crate::error::Malformed;
use crate::generators::GENERATORS;
use crate::group::Point;
use crate::service::RangeWidth;

/// The kind of range proof, as bound into every challenge: 1 is Bulletproofs+.
pub(crate) const KIND: u8 = 1;

static BITS_32: LazyLock<Option<RangeParameters<RistrettoPoint>>> = LazyLock::new(|| bases(32));
static BITS_64: LazyLock<Option<RangeParameters<RistrettoPoint>>> = LazyLock::new(|| bases(64));

fn bases(bits: usize) -> Option<RangeParameters<RistrettoPoint>> {
    let (Gg, Gh) = (&GENERATORS.Gg.at, &GENERATORS.Gh.at);
    let pedersen = PedersenGens {
        h_base: Gg.point,
        h_base_compressed: CompressedRistretto(Gg.encoding),
        g_base_vec: vec![Gh.point],
        g_base_compressed_vec: vec![CompressedRistretto(Gh.encoding)],
        extension_degree: ExtensionDegree::DefaultPedersen,
    };
    RangeParameters::init(bits, 2, pedersen).ok()
}

/// What one range proof is about.
pub(crate) struct RangeClaim {
    statement: RangeStatement<RistrettoPoint>,
    transcript: Transcript,
}

impl RangeClaim {
    /// Two outputs, in the context of the request they belong to.
    pub(crate) fn new(
        width: RangeWidth,
        context: &[u8],
        outputs: &[Point; 2],
    ) -> Result<Self, ProofError> {
        let bases = match width {
            RangeWidth::Bits32 => &BITS_32,
            RangeWidth::Bits64 => &BITS_64,
        };
        let generators = bases.as_ref().ok_or(ProofError::SizeOverflow)?.clone();
        let statement = RangeStatement {
            generators,
            commitments: outputs.iter().map(|output| output.point).collect(),
            commitments_compressed: outputs
                .iter()
                .map(|output| CompressedRistretto(output.encoding))
                .collect(),
            minimum_value_promises: vec![None, None],
            seed_nonce: None,
        };
        let mut transcript = Transcript::new(b"larder/credentials/1/range");
        transcript.append_message(b"request", context);
        Ok(RangeClaim {
            statement,
            transcript,
        })
    }

    /// The proof, given the openings of both outputs.
    pub(crate) fn prove(
        mut self,
        values: [u64; 2],
        blindings: &[Scalar; 2],
        nonces: &mut PrivateRng,
    ) -> Result<Vec<u8>, ProofError> {
        let openings = values.iter().zip(blindings);
        let openings = openings.map(|(v, r)| CommitmentOpening::new(*v, vec![*r]));
        let witness = RangeWitness::init(openings.collect())?;
        let proof = RistrettoRangeProof::prove_with_rng(
            &mut self.transcript,
            &self.statement,
            &witness,
            nonces,
        )?;
        Ok(proof.to_bytes())
    }
}

/// A decoded proof; its points are decompressed, and so checked, by the verification.
pub(crate) fn decode(bytes: &[u8]) -> Result<RistrettoRangeProof, Malformed> {
    // The first byte is the extension degree, which is one here.
    match bytes.first() {
        Some(1) => RistrettoRangeProof::from_bytes(bytes).map_err(|_| Malformed::Scalar),
        _ => Err(Malformed::Value("the range proof")),
    }
}

/// Range proofs that are verified together.
#[derive(Default)]
pub(crate) struct RangeBatch {
    transcripts: Vec<Transcript>,
    statements: Vec<RangeStatement<RistrettoPoint>>,
    proofs: Vec<RistrettoRangeProof>,
}

impl RangeBatch {
    pub(crate) fn push(&mut self, claim: RangeClaim, proof: RistrettoRangeProof) {
        self.transcripts.push(claim.transcript);
        self.statements.push(claim.statement);
        self.proofs.push(proof);
    }

    pub(crate) fn len(&self) -> usize {
        self.proofs.len()
    }

    /// Whether all proofs in this part of the batch hold, with one multiscalar
    /// multiplication for all. An empty part holds.
    pub(crate) fn verify(&self, part: Range<usize>) -> bool {
        part.is_empty()
            || RistrettoRangeProof::verify_batch(
                &mut self.transcripts[part.clone()].to_vec(),
                &self.statements[part.clone()],
                &self.proofs[part],
                VerifyAction::VerifyOnly,
            )
            .is_ok()
    }

    /// The places of the proofs in this part that do not hold, by halving.
    pub(crate) fn find_bad(&self, part: Range<usize>) -> Vec<usize> {
        if self.verify(part.clone()) {
            return Vec::new();
        }
        if part.len() == 1 {
            return vec![part.start];
        }
        let middle = part.start + part.len() / 2;
        let mut bad = self.find_bad(part.start..middle);
        bad.extend(self.find_bad(middle..part.end));
        bad
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generators::commit;

    const CONTEXT: &[u8] = b"a request";

    fn outputs(values: [u64; 2]) -> ([Point; 2], [Scalar; 2]) {
        let blindings = [Scalar::from(11_u64), Scalar::from(12_u64)];
        let outputs = std::array::from_fn(|j| commit(values[j], &blindings[j]).into());
        (outputs, blindings)
    }

    fn nonces() -> PrivateRng {
        PrivateRng::from_seed([3; 32])
    }

    fn claim(width: RangeWidth, values: [u64; 2]) -> RangeClaim {
        RangeClaim::new(width, CONTEXT, &outputs(values).0).unwrap()
    }

    fn proof(width: RangeWidth, values: [u64; 2]) -> Vec<u8> {
        let blindings = outputs(values).1;
        let claim = claim(width, values);
        claim.prove(values, &blindings, &mut nonces()).unwrap()
    }

    fn holds(claim: RangeClaim, proof: &[u8]) -> bool {
        let mut batch = RangeBatch::default();
        batch.push(claim, decode(proof).unwrap());
        batch.verify(0..1)
    }

    #[test]
    fn the_extremes_of_the_range_are_in_it_and_nothing_beyond() {
        for width in [RangeWidth::Bits32, RangeWidth::Bits64] {
            let values = [0, width.largest()];
            let proof = proof(width, values);
            assert_eq!(proof.len(), width.proof_bytes());
            assert!(holds(claim(width, values), &proof));
        }
        let beyond = [0, 1 << 32];
        let (_, blindings) = outputs(beyond);
        let claim = claim(RangeWidth::Bits32, beyond);
        assert!(claim.prove(beyond, &blindings, &mut nonces()).is_err());
    }

    #[test]
    fn a_negative_amount_has_no_proof() {
        // -1 token is q - 1; a proof for the honest 1 does not cover it.
        let (mut outputs, _) = outputs([1, 2]);
        outputs[0] = (outputs[0].point - GENERATORS.Gg.at.point * Scalar::from(2_u64)).into();
        let claim = RangeClaim::new(RangeWidth::Bits32, CONTEXT, &outputs).unwrap();
        assert!(!holds(claim, &proof(RangeWidth::Bits32, [1, 2])));
    }

    #[test]
    fn width_count_order_and_context_are_not_the_provers_choice() {
        let narrow = proof(RangeWidth::Bits32, [1, 2]);
        assert!(holds(claim(RangeWidth::Bits32, [1, 2]), &narrow));
        assert!(!holds(claim(RangeWidth::Bits32, [1, 3]), &narrow));
        let (swapped, _) = outputs([1, 2]);
        let swapped = [swapped[1], swapped[0]];
        let claim_swapped = RangeClaim::new(RangeWidth::Bits32, CONTEXT, &swapped).unwrap();
        assert!(!holds(claim_swapped, &narrow));
        let (same, _) = outputs([1, 2]);
        let elsewhere = RangeClaim::new(RangeWidth::Bits32, b"another", &same).unwrap();
        assert!(!holds(elsewhere, &narrow));
        // A proof over 2^64 has more rounds; one that leaves an output out has fewer.
        let wide = proof(RangeWidth::Bits64, [1, 1 << 40]);
        assert!(!holds(claim(RangeWidth::Bits32, [1, 1 << 40]), &wide));
        assert!(!holds(
            claim(RangeWidth::Bits32, [1, 2]),
            &narrow[..577 - 64]
        ));
    }

    #[test]
    fn one_bad_proof_in_a_batch_does_not_hide_behind_the_others() {
        let good = proof(RangeWidth::Bits32, [1, 2]);
        let other = proof(RangeWidth::Bits32, [3, 4]);
        for bad in 0..5 {
            let mut batch = RangeBatch::default();
            for place in 0..5 {
                let proof = if place == bad { &other } else { &good };
                batch.push(claim(RangeWidth::Bits32, [1, 2]), decode(proof).unwrap());
            }
            assert!(!batch.verify(0..5));
            assert_eq!(batch.find_bad(0..batch.len()), [bad]);
        }
    }
}
