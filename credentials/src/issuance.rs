//! What an issuer answers: two MACs and the proof that the published key made them (§5).
//!
//! | field | bytes |
//! | --- | --- |
//! | `adjust`, tokens added to the first output, LE64 | 8 |
//! | 2 × (`t`, `V`) | 128 |
//! | challenge and five responses, big-endian as `sigma-proofs` lays them out | 192 |
//!
//! The proof stands over a small public context that a replacement row repeats, so it
//! can be checked after everything else was lost.

use std::fmt;

use curve25519_dalek::scalar::Scalar;

use crate::bytes::Reader;
use crate::error::{HolderError, Malformed};
use crate::generators::GENERATORS;
use crate::group::{Encoding, Point};
use crate::operation::{OpCode, References, Status};
use crate::parameters::Parameters;
use crate::request::{Request, tag};
use crate::statement::{self, Issued};

/// The size of an issuance, in bytes.
pub const ISSUANCE_BYTES: usize = 328;
const PROOF_BYTES: usize = 192;

/// One MAC as it travels.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mac {
    pub(crate) t: [u8; 32],
    pub(crate) V: Encoding,
}

/// Two MACs on the outputs of one request. Useless without the openings of the outputs;
/// `Debug` prints nothing of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Issuance {
    pub(crate) adjust: u64,
    pub(crate) macs: [Mac; 2],
    pub(crate) proof: [u8; PROOF_BYTES],
}

impl Issuance {
    /// Tokens the issuer added to the first output.
    #[must_use]
    pub fn adjust(&self) -> u64 {
        self.adjust
    }

    /// The 328 bytes that travel.
    #[must_use]
    pub fn encode(&self) -> [u8; ISSUANCE_BYTES] {
        let mut bytes = [0; ISSUANCE_BYTES];
        bytes[..8].copy_from_slice(&self.adjust.to_le_bytes());
        bytes[8..40].copy_from_slice(&self.macs[0].t);
        bytes[40..72].copy_from_slice(&self.macs[0].V);
        bytes[72..104].copy_from_slice(&self.macs[1].t);
        bytes[104..136].copy_from_slice(&self.macs[1].V);
        bytes[136..].copy_from_slice(&self.proof);
        bytes
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let adjust = reader.u64()?;
        let mut mac = || -> Result<Mac, Malformed> {
            Ok(Mac {
                t: reader.array()?,
                V: reader.array()?,
            })
        };
        let macs = [mac()?, mac()?];
        let proof = reader.array()?;
        Ok(Issuance {
            adjust,
            macs,
            proof,
        })
    }
}

impl fmt::Debug for Issuance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Issuance")
    }
}

/// What an issuance proof is bound to, beside what it signs: all that its row says, so
/// that an issuer cannot take back one byte of it.
pub(crate) struct IssuanceContext<'a> {
    pub(crate) core_hash: &'a [u8; 32],
    pub(crate) op_digest: &'a [u8; 32],
    pub(crate) op: OpCode,
    pub(crate) status: Status,
    pub(crate) cost: i64,
    pub(crate) references: &'a References,
}

impl<'a> IssuanceContext<'a> {
    pub(crate) fn of(request: &'a Request, status: Status) -> Self {
        IssuanceContext {
            core_hash: request.core_hash(),
            op_digest: request.op_digest(),
            op: request.op(),
            status,
            cost: request.cost(),
            references: request.references(),
        }
    }

    /// The session tag of the issuance proof.
    pub(crate) fn tag(&self, parameters: &Parameters, adjust: u64) -> Vec<u8> {
        tag(
            "issue",
            &[
                self.core_hash,
                self.op_digest,
                &[self.op.code(), self.status.0],
                &self.cost.to_le_bytes(),
                &self.references.encode(),
                &parameters.encode(),
                &adjust.to_le_bytes(),
            ],
        )
    }
}

/// `M*_1 = M'_1 + adjust·Gg`, `M*_2 = M'_2`. Only upward: a downward tweak could make an
/// amount negative.
pub(crate) fn adjusted([first, second]: [Point; 2], adjust: u64) -> [Point; 2] {
    match adjust {
        0 => [first, second],
        _ => [
            Point::from(first.point + &GENERATORS.Gg * &Scalar::from(adjust)),
            second,
        ],
    }
}

/// Checks an issuance against published parameters and returns the MAC nonces. A MAC made
/// with a second key, which would tag its holder, does not pass (§9.2).
pub(crate) fn check(
    issuance: &Issuance,
    context: &IssuanceContext<'_>,
    parameters: &Parameters,
    outputs: [Point; 2],
) -> Result<[Scalar; 2], HolderError> {
    let [M_1, M_2] = adjusted(outputs, issuance.adjust);
    let issued = |M: Point, mac: &Mac| -> Result<Issued, Malformed> {
        let t = crate::credential::decode_nonce(mac.t)?;
        let U = Point::from(crate::credential::U(&t));
        let V = Point::decode(&mac.V)?;
        Ok(Issued { M, t, U, V })
    };
    let [first, second] = &issuance.macs;
    let bad = |_| HolderError::BadIssuance;
    let issued = [
        issued(M_1, first).map_err(bad)?,
        issued(M_2, second).map_err(bad)?,
    ];
    statement::issue(parameters.issue(), issued)
        .verify(&context.tag(parameters, issuance.adjust), &issuance.proof)
        .map_err(|_| HolderError::BadIssuance)?;
    Ok(issued.map(|i| i.t))
}
