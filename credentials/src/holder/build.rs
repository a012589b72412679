//! Building a core (§4). Same inputs, same bytes.

use curve25519_dalek::scalar::Scalar;
use sigma_proofs::PrivateRng;
use sigma_proofs::codec::ScalarCodec;
use zeroize::Zeroizing;

use super::{Spending, Unspent, spending};
use crate::credential::{Credential, U};
use crate::epoch::Epoch;
use crate::error::HolderError;
use crate::generators::{GENERATORS, commit};
use crate::group::Point;
use crate::memo;
use crate::operation::{ClaimSecret, OpCode, References};
use crate::parameters::{Parameters, Record};
use crate::range_proof;
use crate::relation::Statement;
use crate::request::{self, Head, Presentation, Request, spend_tag};
use crate::root::Root;
use crate::service::Service;
use crate::statement::{self, Presented};

/// A request, and the parameters that its answer has to be made under.
pub(super) struct Built {
    pub(super) core: Vec<u8>,
    pub(super) request: Request,
    pub(super) output: Parameters,
}

/// What both kinds of request have in common before anything is proved.
struct Draft<'a> {
    root: &'a Root,
    service: &'a Service,
    output: &'a Parameters,
    head: Head,
    parameters: &'a [u8],
    values: Zeroizing<[u64; 2]>,
    blindings: Zeroizing<[Scalar; 2]>,
    outputs: [Point; 2],
}

/// A pair as it is about to be presented.
struct Presenting<'a> {
    draft: Draft<'a>,
    input: &'a Parameters,
    shown: [Shown; 2],
}

/// The core of a request that spends a pair.
pub(super) fn spend(
    pair: &Unspent,
    root: &Root,
    record: &Record,
    spending: &Spending<'_>,
) -> Result<Built, HolderError> {
    let Presenting {
        draft,
        input,
        shown,
    } = present(pair, root, record, spending)?;
    let mut witness = Zeroizing::new(Vec::with_capacity(11));
    let mut dr = Zeroizing::new(-(draft.blindings[0] + draft.blindings[1]));
    for (credential, shown) in pair.credentials().iter().zip(&shown) {
        let (z, t) = (*shown.z, *credential.t());
        let a = Scalar::from(credential.amount());
        witness.extend([z, -(t * z), t, a, *credential.blinding()]);
        *dr += credential.blinding();
    }
    witness.push(*dr);
    let context = draft.context(Some(input));
    let presented = shown.map(|shown| shown.presented);
    let statement = statement::spend(input.spend(), presented, draft.outputs, draft.head.cost);
    draft.prove(&context, &statement, &witness)
}

/// Everything of a spend that precedes its proofs.
fn present<'a>(
    pair: &Unspent,
    root: &'a Root,
    record: &'a Record,
    spending: &Spending<'a>,
) -> Result<Presenting<'a>, HolderError> {
    let input = record.parameters(pair.epoch())?;
    let op = spending.op();
    let cost = spending.cost()?;
    let free = op == OpCode::REISSUE && pair.epoch() < record.current();
    if op == OpCode::PURCHASE || (cost == 0) != free {
        return Err(HolderError::BadOperation);
    }
    let values = spending.divide(pair.total(), record.service().range())?;
    let references = References::Serials([0, 1].map(|i| pair.credentials()[i].serial()));
    let mut draft = Draft::new(root, record, references, op, spending.parameters(), values)?;
    draft.head.in_epoch = pair.epoch();
    draft.head.cost = cost;

    // The complete statement as far as it exists before z is chosen, and the witness.
    let [first, second] = pair.credentials();
    let (stored_1, stored_2) = (first.encode(), second.encode());
    let mut randomness = root.prf().generator(
        "presentation",
        &[
            &draft.context(Some(input)),
            &*stored_1,
            &*stored_2,
            &*draft.openings(),
            spending.entropy(),
        ],
    );
    let shown = [
        Shown::new(first, input, &mut randomness)?,
        Shown::new(second, input, &mut randomness)?,
    ];
    draft.head.presentations = Some([shown[0].wire, shown[1].wire]);
    Ok(Presenting {
        draft,
        input,
        shown,
    })
}

/// `z_1` and `z_2` of a spend, for the vectors.
#[cfg(test)]
pub(crate) fn zs(
    pair: &Unspent,
    root: &Root,
    record: &Record,
    spending: &Spending<'_>,
) -> Result<[Scalar; 2], HolderError> {
    let Presenting { shown, .. } = present(pair, root, record, spending)?;
    Ok(shown.map(|shown| *shown.z))
}

/// The core of a request that claims a purchase.
pub(super) fn purchase(
    root: &Root,
    record: &Record,
    claim: &ClaimSecret,
    amount: u64,
    outputs: Option<[u64; 2]>,
) -> Result<Built, HolderError> {
    let cost = i64::try_from(amount).map_err(|_| HolderError::BadOperation)?;
    if cost == 0 {
        return Err(HolderError::BadOperation);
    }
    let largest = [record.service().range().largest(); 2];
    let values = spending::divide(amount.into(), outputs, largest)?;
    let references = References::Claim(claim.tag());
    let parameters = claim.as_bytes();
    let op = OpCode::PURCHASE;
    let mut draft = Draft::new(root, record, references, op, parameters, values)?;
    draft.head.cost = -cost;
    let context = draft.context(None);
    let statement = statement::purchase(draft.outputs, -cost);
    let dr = Zeroizing::new([-(draft.blindings[0] + draft.blindings[1])]);
    draft.prove(&context, &statement, &*dr)
}

impl<'a> Draft<'a> {
    fn new(
        root: &'a Root,
        record: &'a Record,
        references: References,
        op: OpCode,
        parameters: &'a [u8],
        values: [u64; 2],
    ) -> Result<Self, HolderError> {
        if u32::try_from(parameters.len()).is_err() {
            return Err(HolderError::BadOperation);
        }
        let blindings = root.blindings(&references, &values);
        let outputs: [Point; 2] =
            std::array::from_fn(|j| Point::from(commit(values[j], &blindings[j])));
        let [M_1, M_2] = outputs.map(|output| output.encoding);
        let memo = memo::seal(root, &references, [&M_1, &M_2], values);
        let service = record.service();
        Ok(Draft {
            root,
            service,
            output: record.parameters(record.current())?,
            head: Head {
                op,
                in_epoch: Epoch(0),
                out_epoch: record.current(),
                cost: 0,
                presentations: None,
                outputs: [M_1, M_2],
                memo,
                op_digest: request::op_digest(service, &memo, op, parameters),
            },
            parameters,
            values: Zeroizing::new(values),
            blindings,
            outputs,
        })
    }

    /// What both proofs are bound to.
    fn context(&self, input: Option<&Parameters>) -> Vec<u8> {
        self.head.context(self.service, input, self.output)
    }

    /// The openings of the outputs.
    fn openings(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(80));
        for (value, blinding) in self.values.iter().zip(self.blindings.iter()) {
            bytes.extend_from_slice(&value.to_le_bytes());
            bytes.extend_from_slice(blinding.as_bytes());
        }
        bytes
    }

    fn prove(
        &self,
        context: &[u8],
        statement: &Statement<'_>,
        witness: &[Scalar],
    ) -> Result<Built, HolderError> {
        let prf = self.root.prf();
        let mut nonces = prf.generator("range-proof", &[context, &*self.openings()]);
        let range_proof = range_proof::prove(
            self.service.range(),
            context,
            &self.outputs,
            *self.values,
            &self.blindings,
            &mut nonces,
        )
        .map_err(|_| HolderError::Unprovable)?;
        let tag = spend_tag(context, &range_proof);
        let mut secret = Zeroizing::new(Vec::with_capacity(32 * witness.len()));
        witness
            .iter()
            .for_each(|w| secret.extend_from_slice(w.as_bytes()));
        let mut nonces = prf.generator("proof", &[&tag, statement.label(), &secret]);
        let proof = statement
            .prove(&tag, witness, &mut nonces)
            .map_err(|_| HolderError::Unprovable)?;
        let core = request::encode(&self.head, &range_proof, &proof, self.parameters);
        // Decoding one's own core catches what the issuer would refuse as malformed.
        let request =
            Request::decode(self.service, &core).map_err(|_| HolderError::BadOperation)?;
        Ok(Built {
            core,
            request,
            output: self.output.clone(),
        })
    }
}

/// A credential as it is presented (§4.2).
struct Shown {
    z: Zeroizing<Scalar>,
    presented: Presented,
    wire: Presentation,
}

impl Shown {
    fn new(
        credential: &Credential,
        input: &Parameters,
        randomness: &mut PrivateRng,
    ) -> Result<Self, HolderError> {
        let g = &*GENERATORS;
        let z = Zeroizing::new(Scalar::sample(randomness));
        let (t, U) = (credential.t(), U(credential.t()));
        let V = credential.V().map_err(HolderError::Stored)?;
        let CV = Point::from(&g.GV * &z + V.point);
        let presented = Presented {
            Ca: Point::from(&g.Ga * &z + credential.M()),
            Cx0: Point::from(&g.Gx0 * &z + U),
            Cx1: Point::from(&g.Gx1 * &z + t * U),
            S: Point::from(&g.Gs * credential.blinding()),
            Z: Point::from(input.I().point * *z),
        };
        let wire = Presentation {
            Ca: presented.Ca.encoding,
            Cx0: presented.Cx0.encoding,
            Cx1: presented.Cx1.encoding,
            CV: CV.encoding,
            S: presented.S.encoding,
        };
        Ok(Shown { z, presented, wire })
    }
}
