//! Verifying range proofs: one multiscalar multiplication for as many as there are.
//!
//! The library has a verifier of its own, and the tests hold this one against it. It takes
//! what an issuer needs to know in advance of many proofs at once: points are decoded
//! once, the fixed points of the request are shared, and a batch is summed with buckets
//! instead of tables of more than a megabyte, which do not stay in a cache.
//!
//! With the notation of the Bulletproofs+ paper (Chung, Han, Ju, Kim, Seo 2020), `m = 2`
//! outputs `V_j` of `n` bits, and `N = m·n`, a proof `(A, A1, B, L_k, R_k, r1, s1, d1)`
//! with challenges `y, z, e_k, e` holds when
//!
//! ```text
//!   Σ_i (r1·e·y^-i·s_i + e²·z)·G_i
//! + Σ_i (s1·e·s_(N-1-i) − e²·(d_i·y^(N-i) + z))·H_i
//! + (r1·y·s1 + e²·(z·y^(N+1)·Σ d_i + (z² − z)·Σ_(1..N) y^i))·Gg
//! + d1·Gh
//! = e²·A + e·A1 + B + e²·y^(N+1)·Σ z^(2j)·V_j + e²·Σ (e_k²·L_k + e_k^-2·R_k)
//! ```
//!
//! where `d_(jn+i) = z^(2(j+1))·2^i` and `s_i` is the product of `e_k^±1`, positive where
//! bit `k` of `i`, counted from the highest, is set. Everything here is public.

use curve25519_dalek::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{
    IsIdentity, VartimeMultiscalarMul, VartimePrecomputedMultiscalarMul,
};
use tari_bulletproofs_plus::Transcript;
use tari_bulletproofs_plus::range_parameters::RangeParameters;

use crate::bytes::Reader;
use crate::error::Malformed;
use crate::generators::GENERATORS;
use crate::group::{Point, decode_scalar, hash};
use crate::service::RangeWidth;

/// From this many proofs on, buckets are faster than tables.
const BUCKETS_FROM: usize = 4;

/// A decoded range proof: every point is canonical and none the identity, every scalar is
/// below the order.
#[derive(Clone)]
pub(crate) struct RangeProof {
    d1: Scalar,
    A: Point,
    A1: Point,
    B: Point,
    r1: Scalar,
    s1: Scalar,
    /// `(L_k, R_k)`
    rounds: Vec<(Point, Point)>,
}

impl RangeProof {
    /// The proof in these bytes, which the request has cut to the right length.
    pub(crate) fn decode(width: RangeWidth, bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        // The extension degree: one blinding base.
        if reader.u8()? != 1 {
            return Err(Malformed::Value("the range proof"));
        }
        let d1 = decode_scalar(reader.array()?)?;
        let A = Point::decode(&reader.array()?)?;
        let A1 = Point::decode(&reader.array()?)?;
        let B = Point::decode(&reader.array()?)?;
        let r1 = decode_scalar(reader.array()?)?;
        let s1 = decode_scalar(reader.array()?)?;
        let rounds = (0..full_length(width).ilog2())
            .map(|_| {
                let L = Point::decode(&reader.array()?)?;
                Ok((L, Point::decode(&reader.array()?)?))
            })
            .collect::<Result<_, Malformed>>()?;
        reader.end()?;
        Ok(RangeProof {
            d1,
            A,
            A1,
            B,
            r1,
            s1,
            rounds,
        })
    }
}

/// A proof with its challenges, ready to be added to a batch.
#[derive(Clone)]
pub(crate) struct Challenged {
    outputs: [Point; 2],
    proof: RangeProof,
    y: Scalar,
    z: Scalar,
    rounds: Vec<Scalar>,
    e: Scalar,
    /// What the weight of this proof in a batch is derived from: depends on all of it.
    fingerprint: [u8; 32],
}

impl Challenged {
    /// Derives the challenges as the library's prover does.
    pub(crate) fn new(
        mut transcript: Transcript,
        width: RangeWidth,
        outputs: [Point; 2],
        proof: RangeProof,
    ) -> Self {
        let t = &mut transcript;
        t.append_message(b"dom-sep", b"Bulletproofs+ Range Proof");
        t.append_message(b"H", &GENERATORS.Gg.at.encoding);
        t.append_message(b"G", &GENERATORS.Gh.at.encoding);
        t.append_u64(b"N", width.bits().into());
        t.append_u64(b"T", 1);
        t.append_u64(b"M", 2);
        for output in &outputs {
            t.append_message(b"Ci", &output.encoding);
        }
        for _ in &outputs {
            t.append_u64(b"vi - minimum_value", 0);
        }
        t.append_message(b"A", &proof.A.encoding);
        let (y, z) = (challenge(t, b"y"), challenge(t, b"z"));
        let mut rounds = Vec::with_capacity(proof.rounds.len());
        for (L, R) in &proof.rounds {
            t.append_message(b"L", &L.encoding);
            t.append_message(b"R", &R.encoding);
            rounds.push(challenge(t, b"e"));
        }
        t.append_message(b"A1", &proof.A1.encoding);
        t.append_message(b"B", &proof.B.encoding);
        let e = challenge(t, b"e");
        for scalar in [&proof.r1, &proof.s1, &proof.d1] {
            t.append_message(b"response", scalar.as_bytes());
        }
        let mut fingerprint = [0; 32];
        t.challenge_bytes(b"fingerprint", &mut fingerprint);
        Challenged {
            outputs,
            proof,
            y,
            z,
            rounds,
            e,
            fingerprint,
        }
    }
}

#[cfg(test)]
impl Challenged {
    /// `y`, `z`, one `e` for each round, and the last `e`.
    pub(crate) fn challenges(&self) -> Vec<Scalar> {
        [&[self.y, self.z], self.rounds.as_slice(), &[self.e]].concat()
    }
}

fn challenge(transcript: &mut Transcript, label: &'static [u8]) -> Scalar {
    let mut bytes = [0; 64];
    transcript.challenge_bytes(label, &mut bytes);
    Scalar::from_bytes_mod_order_wide(&bytes)
}

fn full_length(width: RangeWidth) -> usize {
    2 * usize::from(width.bits())
}

/// The one equation that holds when all of its proofs do.
struct Sum {
    bits: usize,
    G: Vec<Scalar>,
    H: Vec<Scalar>,
    Gg: Scalar,
    Gh: Scalar,
    scalars: Vec<Scalar>,
    points: Vec<RistrettoPoint>,
}

impl Sum {
    fn new(width: RangeWidth, proofs: usize) -> Self {
        let full = full_length(width);
        // Per proof: two outputs, A, A1, B, and L and R of every round; then Gg and Gh.
        let points = proofs * (5 + 2 * full.ilog2() as usize) + 2;
        Sum {
            bits: width.bits().into(),
            G: vec![Scalar::ZERO; full],
            H: vec![Scalar::ZERO; full],
            Gg: Scalar::ZERO,
            Gh: Scalar::ZERO,
            scalars: Vec::with_capacity(points),
            points: Vec::with_capacity(points),
        }
    }

    fn push(&mut self, scalar: Scalar, point: &Point) {
        self.scalars.push(scalar);
        self.points.push(point.point);
    }

    /// Adds a proof's left side less its right side, times its weight. With a zero
    /// challenge, which an honest prover never meets, nothing holds: the library refuses
    /// all of them, and under `z = 0` or `e = 0` the equation would say nothing.
    fn add(&mut self, member: &Challenged, weight: Scalar) -> bool {
        let Challenged { y, z, e, proof, .. } = member;
        let full = self.G.len();
        let mut inverses = member.rounds.clone();
        inverses.extend([*y, y - Scalar::ONE]);
        if inverses.contains(&Scalar::ZERO) || [z, e].contains(&&Scalar::ZERO) {
            return false;
        }
        Scalar::invert_batch_alloc(&mut inverses);
        let (Some(y_less_one_inverse), Some(y_inverse)) = (inverses.pop(), inverses.pop()) else {
            return false;
        };

        let z_2 = z * z;
        let y_N = power_of_two_power(*y, full);
        let y_N_1 = y_N * y;
        let weighted_e = weight * e;
        let weighted_e_2 = weighted_e * e;

        // s_i doubles in length with every round, last round first.
        let mut s = Vec::with_capacity(full);
        s.push(inverses.iter().product::<Scalar>());
        for e_k in member.rounds.iter().rev() {
            let e_k_2 = e_k * e_k;
            for i in 0..s.len() {
                s.push(s[i] * e_k_2);
            }
        }

        let e_2_z = weighted_e_2 * z;
        let mut left = weighted_e * proof.r1;
        let right = weighted_e * proof.s1;
        // e²·d_i·y^(N-i): within an output it doubles and loses a power of y.
        let step = y_inverse + y_inverse;
        let per_output = z_2 * power_of_two_power(y_inverse, self.bits);
        let mut start = weighted_e_2 * z_2 * y_N;
        let mut d_y = start;
        for i in 0..full {
            if i == self.bits {
                start *= per_output;
                d_y = start;
            }
            self.G[i] += left * s[i] + e_2_z;
            self.H[i] += right * s[full - 1 - i] - d_y - e_2_z;
            left *= y_inverse;
            d_y *= step;
        }

        let y_sum = y * (y_N - Scalar::ONE) * y_less_one_inverse;
        let ones = Scalar::from(u64::MAX >> (64 - self.bits));
        let d_sum = ones * (z_2 + z_2 * z_2);
        self.Gg += weight * proof.r1 * y * proof.s1
            + weighted_e_2 * (z * y_N_1 * d_sum + (z_2 - z) * y_sum);
        self.Gh += weight * proof.d1;

        self.push(-weighted_e_2, &proof.A);
        self.push(-weighted_e, &proof.A1);
        self.push(-weight, &proof.B);
        let [V_1, V_2] = &member.outputs;
        let first = -weighted_e_2 * y_N_1 * z_2;
        self.push(first, V_1);
        self.push(first * z_2, V_2);
        let rounds = proof.rounds.iter().zip(&member.rounds).zip(&inverses);
        for (((L, R), e_k), inverse) in rounds {
            self.push(-weighted_e_2 * e_k * e_k, L);
            self.push(-weighted_e_2 * inverse * inverse, R);
        }
        true
    }

    fn vanishes(mut self, bases: &RangeParameters<RistrettoPoint>, proofs: usize) -> bool {
        let (Gg, Gh) = (self.Gg, self.Gh);
        self.push(Gg, &GENERATORS.Gg.at);
        self.push(Gh, &GENERATORS.Gh.at);
        let fixed = self.G.iter().zip(&self.H).flat_map(|(g, h)| [g, h]);
        let sum = if proofs >= BUCKETS_FROM {
            let bases = bases.gi_base_iter().zip(bases.hi_base_iter());
            let bases = bases.flat_map(|(g, h)| [g, h]);
            RistrettoPoint::vartime_multiscalar_mul(
                fixed.chain(&self.scalars),
                bases.chain(&self.points),
            )
        } else {
            let tables = bases.precomp();
            tables.vartime_mixed_multiscalar_mul(fixed, &self.scalars, &self.points)
        };
        sum.is_identity()
    }
}

/// `base^exponent` for an exponent that is a power of two.
fn power_of_two_power(base: Scalar, exponent: usize) -> Scalar {
    (0..exponent.ilog2()).fold(base, |power, _| power * power)
}

/// Whether all of these proofs hold. Weights come from all proofs together, so no prover
/// can choose one that cancels another (§10.14).
pub(crate) fn verify(
    width: RangeWidth,
    bases: &RangeParameters<RistrettoPoint>,
    proofs: &[Challenged],
) -> bool {
    let mut sum = Sum::new(width, proofs.len());
    let fingerprints = proofs.iter().map(|member| member.fingerprint.as_slice());
    let seed = hash("range-weights", fingerprints);
    let all_added = proofs.iter().enumerate().all(|(place, member)| {
        let place = (place as u64).to_le_bytes();
        let weight = hash("range-weight", [seed.as_slice(), &place]);
        sum.add(member, Scalar::from_bytes_mod_order_wide(&weight))
    });
    all_added && sum.vanishes(bases, proofs.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What fulfils the equation when `z` or `e` is zero, for any outputs: with
    /// `r1 = s1 = 0` nothing that the prover cannot choose is left of it.
    fn forged(z: Scalar, e: Scalar) -> Challenged {
        let (y, e_k, d1) = (
            Scalar::from(3_u64),
            Scalar::from(5_u64),
            Scalar::from(7_u64),
        );
        let P = GENERATORS.Gs.at.point;
        let rounds = full_length(RangeWidth::Bits32).ilog2();
        let per_round = e_k * e_k + e_k.invert() * e_k.invert();
        let others = e * e + e + e * e * per_round * Scalar::from(rounds);
        let B = GENERATORS.Gh.at.point * d1 - P * others;
        let P = Point::from(P);
        Challenged {
            outputs: [P; 2],
            proof: RangeProof {
                d1,
                A: P,
                A1: P,
                B: B.into(),
                r1: Scalar::ZERO,
                s1: Scalar::ZERO,
                rounds: vec![(P, P); rounds as usize],
            },
            y,
            z,
            rounds: vec![e_k; rounds as usize],
            e,
            fingerprint: [0; 32],
        }
    }

    #[test]
    fn nothing_holds_under_a_zero_challenge() {
        let width = RangeWidth::Bits32;
        let bases = crate::range_proof::bases(width).unwrap();
        for (z, e) in [(Scalar::ZERO, Scalar::ONE), (Scalar::ONE, Scalar::ZERO)] {
            assert!(!verify(width, bases, &[forged(z, e)]));
        }
    }
}
