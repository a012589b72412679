//! The core: the bytes of a request that are paid for, hashed and replayed (§4.6).
//!
//! | field | bytes |
//! | --- | --- |
//! | version, 1 | 1 |
//! | operation code | 1 |
//! | `in_epoch`, LE32; 0 when nothing is presented | 4 |
//! | `out_epoch`, LE32 | 4 |
//! | cost in tokens, LE64 signed; negative when tokens are given | 8 |
//! | `k_in`, 0 for a purchase and 2 for the rest | 1 |
//! | `k_in` × (`Ca` `Cx0` `Cx1` `CV` `S`) | 320 or 0 |
//! | `M'_1` `M'_2` | 64 |
//! | memo | 44 |
//! | range proof | 577 (641 when 64 bits wide) |
//! | challenge and responses, big-endian as `sigma-proofs` lays them out | 384 or 64 |
//! | length of the parameters, LE32 | 4 |
//! | parameters of the operation | as many |
//!
//! Decoding checks the layout only: it is what a garbage request costs. Points and proofs
//! are checked by [`Issuer::verify`](crate::Issuer::verify).

use std::fmt;
use std::sync::OnceLock;

use crate::PROTOCOL;
use crate::bytes::Reader;
use crate::epoch::Epoch;
use crate::error::Malformed;
use crate::group::{Encoding, Point, hash32};
use crate::memo::MEMO_BYTES;
use crate::operation::{ClaimSecret, OpCode, Reference, References};
use crate::parameters::{PARAMETERS_BYTES, Parameters};
use crate::range_proof::KIND;
use crate::service::Service;

const VERSION: u8 = 1;
const SPEND_PROOF_BYTES: usize = 12 * 32;
const PURCHASE_PROOF_BYTES: usize = 2 * 32;

/// A presentation as it travels.
#[derive(Clone, Copy)]
pub(crate) struct Presentation {
    pub(crate) Ca: Encoding,
    pub(crate) Cx0: Encoding,
    pub(crate) Cx1: Encoding,
    pub(crate) CV: Encoding,
    pub(crate) S: Encoding,
}

/// What a request says, without its proofs.
#[derive(Clone)]
pub(crate) struct Head {
    pub(crate) op: OpCode,
    pub(crate) in_epoch: Epoch,
    pub(crate) out_epoch: Epoch,
    pub(crate) cost: i64,
    pub(crate) presentations: Option<[Presentation; 2]>,
    pub(crate) outputs: [Encoding; 2],
    pub(crate) memo: [u8; MEMO_BYTES],
    pub(crate) op_digest: [u8; 32],
}

impl Head {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, self.op.code()];
        out.extend_from_slice(&self.in_epoch.0.to_le_bytes());
        out.extend_from_slice(&self.out_epoch.0.to_le_bytes());
        out.extend_from_slice(&self.cost.to_le_bytes());
        out.push(self.k_in());
        for p in self.presentations.iter().flatten() {
            for point in [&p.Ca, &p.Cx0, &p.Cx1, &p.CV, &p.S] {
                out.extend_from_slice(point);
            }
        }
        self.outputs.iter().for_each(|m| out.extend_from_slice(m));
        out.extend_from_slice(&self.memo);
        out
    }

    fn k_in(&self) -> u8 {
        if self.presentations.is_some() { 2 } else { 0 }
    }

    /// What both proofs are bound to (§4.4): the operation, the kind and width of the range
    /// proof, the parameters of both epochs, and all that precedes the proofs in the core.
    pub(crate) fn context(
        &self,
        service: &Service,
        input: Option<&Parameters>,
        output: &Parameters,
    ) -> Vec<u8> {
        let mut out = self.op_digest.to_vec();
        out.extend_from_slice(&[KIND, service.range().bits()]);
        out.extend_from_slice(&input.map_or([0; PARAMETERS_BYTES], Parameters::encode));
        out.extend_from_slice(&output.encode());
        out.extend_from_slice(&self.encode());
        out
    }
}

/// `H32(D/op, server_id ‖ memo ‖ op_code ‖ op parameters)`.
pub(crate) fn op_digest(
    service: &Service,
    memo: &[u8; MEMO_BYTES],
    op: OpCode,
    parameters: &[u8],
) -> [u8; 32] {
    let op = [op.code()];
    let parts: [&[u8]; 4] = [service.id(), memo, &op, parameters];
    hash32("op", parts)
}

/// The session tag of the Σ-proof: its label, the context, the range proof.
pub(crate) fn spend_tag(context: &[u8], range_proof: &[u8]) -> Vec<u8> {
    tag("spend", &[context, range_proof])
}

/// A session tag with the flavour and the ciphersuite that `sigma-proofs` asks for. The
/// first part has a fixed length in every use, so the tag is unambiguous.
pub(crate) fn tag(label: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut out =
        format!("{PROTOCOL}/{label} CMPT sigma-proofs_TurboShake128_ristretto255 ").into_bytes();
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

/// A decoded request. Its layout is good; its points and proofs are not yet checked.
#[derive(Clone)]
pub struct Request {
    pub(crate) head: Head,
    pub(crate) range_proof: Vec<u8>,
    pub(crate) proof: Vec<u8>,
    service: Service,
    references: References,
    parameters: Vec<u8>,
    core_hash: [u8; 32],
    length: usize,
    /// The outputs as points, once somebody has needed them.
    points: OnceLock<Result<[Point; 2], Malformed>>,
}

impl Request {
    /// The request with this core.
    ///
    /// # Errors
    ///
    /// Anything but one complete core of the service's range width. Nothing is allocated
    /// beyond copies of bytes that were given.
    pub fn decode(service: &Service, core: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(core);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(Malformed::Version(version));
        }
        let op = OpCode::decode(reader.u8()?)?;
        let in_epoch = Epoch(reader.u32()?);
        let out_epoch = Epoch(reader.u32()?);
        let cost = reader.i64()?;
        let presentations = match (reader.u8()?, op) {
            (0, OpCode::PURCHASE) => None,
            (2, op) if op != OpCode::PURCHASE => Some([
                read_presentation(&mut reader)?,
                read_presentation(&mut reader)?,
            ]),
            _ => return Err(Malformed::Value("the number of presentations")),
        };
        if presentations.is_none() && in_epoch != Epoch(0) {
            return Err(Malformed::Value("the input epoch of a purchase"));
        }
        let outputs = [reader.array()?, reader.array()?];
        let memo = reader.array()?;
        let range_proof = reader.slice(service.range().proof_bytes())?.to_vec();
        let proof = reader.slice(match presentations {
            Some(_) => SPEND_PROOF_BYTES,
            None => PURCHASE_PROOF_BYTES,
        })?;
        let length = usize::try_from(reader.u32()?).map_err(|_| Malformed::Truncated)?;
        let parameters = reader.slice(length)?;
        reader.end()?;
        let references = match &presentations {
            Some([first, second]) if first.S == second.S => return Err(Malformed::SameSerial),
            Some(pair) => References::Serials(pair.map(|p| Reference(p.S))),
            None => {
                let secret = parameters
                    .try_into()
                    .map_err(|_| Malformed::Value("the claim secret"))?;
                References::Claim(ClaimSecret::from_bytes(secret).tag())
            }
        };
        if matches!(op, OpCode::TRANSFER | OpCode::REISSUE) && !parameters.is_empty() {
            return Err(Malformed::Value("the parameters"));
        }
        Ok(Request {
            service: *service,
            references,
            head: Head {
                op,
                in_epoch,
                out_epoch,
                cost,
                presentations,
                outputs,
                memo,
                op_digest: op_digest(service, &memo, op, parameters),
            },
            range_proof,
            proof: proof.to_vec(),
            parameters: parameters.to_vec(),
            core_hash: core_hash(core),
            length: core.len(),
            points: OnceLock::new(),
        })
    }

    /// The service it was decoded for, whose id is part of the operation digest (§4.4).
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// The operation.
    #[must_use]
    pub fn op(&self) -> OpCode {
        self.head.op
    }

    /// The epoch of the presented credentials; none for a purchase.
    #[must_use]
    pub fn in_epoch(&self) -> Option<Epoch> {
        self.head.presentations.map(|_| self.head.in_epoch)
    }

    /// The epoch in which the outputs are to be issued.
    #[must_use]
    pub fn out_epoch(&self) -> Epoch {
        self.head.out_epoch
    }

    /// What it costs, in tokens; negative when tokens are given.
    #[must_use]
    pub fn cost(&self) -> i64 {
        self.head.cost
    }

    /// The parameters of the operation, which the proof is bound to.
    #[must_use]
    pub fn parameters(&self) -> &[u8] {
        &self.parameters
    }

    /// What it consumes.
    #[must_use]
    pub fn references(&self) -> &References {
        &self.references
    }

    /// `H32(D/core, core)`: equal for honest retries and for nothing else (§10.3).
    #[must_use]
    pub fn core_hash(&self) -> &[u8; 32] {
        &self.core_hash
    }

    /// `H32(D/op, …)` (§4.4).
    #[must_use]
    pub fn op_digest(&self) -> &[u8; 32] {
        &self.head.op_digest
    }

    /// The size of the core without the parameters and their length, in bytes.
    #[must_use]
    pub fn credential_bytes(&self) -> usize {
        self.length - 4 - self.parameters.len()
    }

    pub(crate) fn outputs(&self) -> Result<[Point; 2], Malformed> {
        let [first, second] = &self.head.outputs;
        let decode = || Ok([Point::decode(first)?, Point::decode(second)?]);
        *self.points.get_or_init(decode)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Request").field(&self.head.op).finish()
    }
}

/// `H32(D/core, core)`.
pub(crate) fn core_hash(core: &[u8]) -> [u8; 32] {
    hash32("core", [core])
}

/// A core from its parts.
pub(crate) fn encode(head: &Head, range_proof: &[u8], proof: &[u8], parameters: &[u8]) -> Vec<u8> {
    let mut core = head.encode();
    core.extend_from_slice(range_proof);
    core.extend_from_slice(proof);
    core.extend_from_slice(&(parameters.len() as u32).to_le_bytes());
    core.extend_from_slice(parameters);
    core
}

fn read_presentation(reader: &mut Reader<'_>) -> Result<Presentation, Malformed> {
    Ok(Presentation {
        Ca: reader.array()?,
        Cx0: reader.array()?,
        Cx1: reader.array()?,
        CV: reader.array()?,
        S: reader.array()?,
    })
}
