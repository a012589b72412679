//! Both outputs of a request lie in `[0, 2^n)`: one aggregated Bulletproof+ (§4.3).
//!
//! The commitment bases are exactly `(Gg, Gh)`, so an output *is* the commitment of its
//! range proof. Width and count are constants, never read from a message.
//!
//! The library proves in variable time. That concerns a holder's own device only; an
//! issuer verifies, in [`range_verifier`](crate::range_verifier), and handles nothing
//! secret here.

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
use tari_bulletproofs_plus::range_statement::RangeStatement;
use tari_bulletproofs_plus::range_witness::RangeWitness;
use tari_bulletproofs_plus::ristretto::RistrettoRangeProof;
use tari_bulletproofs_plus::{PedersenGens, Transcript};

use crate::generators::GENERATORS;
use crate::group::Point;
use crate::range_verifier::{self, Challenged, RangeProof};
use crate::service::RangeWidth;

/// The kind of range proof, as bound into every challenge: 1 is Bulletproofs+.
pub(crate) const KIND: u8 = 1;

static BITS_32: LazyLock<Option<Bases>> = LazyLock::new(|| make_bases(32));
static BITS_64: LazyLock<Option<Bases>> = LazyLock::new(|| make_bases(64));

pub(crate) type Bases = RangeParameters<RistrettoPoint>;

pub(crate) fn bases(width: RangeWidth) -> Option<&'static Bases> {
    match width {
        RangeWidth::Bits32 => BITS_32.as_ref(),
        RangeWidth::Bits64 => BITS_64.as_ref(),
    }
}

fn make_bases(bits: usize) -> Option<Bases> {
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

/// What a range proof is bound to beside its outputs.
fn transcript(context: &[u8]) -> Transcript {
    let mut transcript = Transcript::new(b"larder/credentials/1/range");
    transcript.append_message(b"request", context);
    transcript
}

fn statement(
    width: RangeWidth,
    outputs: &[Point; 2],
) -> Result<RangeStatement<RistrettoPoint>, ProofError> {
    Ok(RangeStatement {
        generators: bases(width).ok_or(ProofError::SizeOverflow)?.clone(),
        commitments: outputs.iter().map(|output| output.point).collect(),
        commitments_compressed: outputs
            .iter()
            .map(|output| CompressedRistretto(output.encoding))
            .collect(),
        minimum_value_promises: vec![None, None],
        seed_nonce: None,
    })
}

/// Proves that both outputs, with these openings, are in range.
pub(crate) fn prove(
    width: RangeWidth,
    context: &[u8],
    outputs: &[Point; 2],
    values: [u64; 2],
    blindings: &[Scalar; 2],
    nonces: &mut PrivateRng,
) -> Result<Vec<u8>, ProofError> {
    let openings = values.iter().zip(blindings);
    let openings = openings.map(|(v, r)| CommitmentOpening::new(*v, vec![*r]));
    let witness = RangeWitness::init(openings.collect())?;
    let statement = statement(width, outputs)?;
    let mut transcript = transcript(context);
    RistrettoRangeProof::prove_with_rng(&mut transcript, &statement, &witness, nonces)
        .map(|proof| proof.to_bytes())
}

/// The challenges of a proof, for the vectors.
#[cfg(test)]
pub(crate) fn challenges(
    width: RangeWidth,
    context: &[u8],
    outputs: [Point; 2],
    proof: &[u8],
) -> Result<Vec<Scalar>, crate::Malformed> {
    let proof = RangeProof::decode(width, proof)?;
    Ok(Challenged::new(transcript(context), width, outputs, proof).challenges())
}

/// Range proofs that are verified together.
pub(crate) struct RangeBatch {
    width: RangeWidth,
    members: Vec<Challenged>,
}

impl RangeBatch {
    pub(crate) fn new(width: RangeWidth) -> Self {
        RangeBatch {
            width,
            members: Vec::new(),
        }
    }

    /// Adds the proof of these outputs, made in this context.
    pub(crate) fn push(&mut self, context: &[u8], outputs: [Point; 2], proof: RangeProof) {
        let transcript = transcript(context);
        let member = Challenged::new(transcript, self.width, outputs, proof);
        self.members.push(member);
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether all proofs in this part of the batch hold, with one multiscalar
    /// multiplication for all. An empty part holds.
    pub(crate) fn verify(&self, part: Range<usize>) -> bool {
        part.is_empty()
            || bases(self.width)
                .is_some_and(|bases| range_verifier::verify(self.width, bases, &self.members[part]))
    }

    /// The places of the proofs in this part that do not hold.
    pub(crate) fn find_bad(&self, part: Range<usize>) -> Vec<usize> {
        find_bad(part, HALVINGS, &mut |part| self.verify(part))
    }
}

/// How often a failing part is halved before its proofs are verified singly. Whoever sends
/// many bad proofs makes the issuer verify each at most `HALVINGS + 2` times.
const HALVINGS: u32 = 2;
/// Up to so many proofs cost less singly than by more halving.
const SINGLY: usize = 4;

/// The places in this part that do not hold, asking `verify` about parts of it.
fn find_bad(
    part: Range<usize>,
    halvings: u32,
    verify: &mut impl FnMut(Range<usize>) -> bool,
) -> Vec<usize> {
    if verify(part.clone()) {
        Vec::new()
    } else {
        search(part, halvings, verify)
    }
}

/// The same for a part that is known not to hold as a whole.
fn search(
    part: Range<usize>,
    halvings: u32,
    verify: &mut impl FnMut(Range<usize>) -> bool,
) -> Vec<usize> {
    if part.len() == 1 {
        return vec![part.start];
    }
    if part.len() <= SINGLY || halvings == 0 {
        return part.filter(|place| !verify(*place..place + 1)).collect();
    }
    let middle = part.start + part.len() / 2;
    let mut bad = find_bad(part.start..middle, halvings - 1, verify);
    let rest = middle..part.end;
    // If the first half holds, it is the second that does not.
    bad.extend(if bad.is_empty() {
        search(rest, halvings - 1, verify)
    } else {
        find_bad(rest, halvings - 1, verify)
    });
    bad
}

#[cfg(test)]
mod tests;
