//! One purchase and what follows from it, for tests that look inside.

use std::num::NonZeroU64;

use curve25519_dalek::scalar::Scalar;
use sigma_proofs::NargCodec;
use sigma_proofs::codec::ScalarCodec;
use sigma_proofs::traits::SigmaProtocolSimulator;
use spongefish::NargReader;

use crate::credential::U;
use crate::group::{Point, decode_scalar};
use crate::issuance::adjusted;
use crate::ledger::memory::Memory;
use crate::ledger::{Outcome, Tariff};
use crate::relation::Statement;
use crate::statement::Issued;
use crate::{
    AdjustRule, Epoch, InFlight, Issuance, Issuer, Ledger, MasterSecret, OpCode, Reply, Root,
    Service, Settled, Spending, Unspent,
};

pub(crate) const MASTER: [u8; 32] = [1; 32];
pub(crate) const ROOT: [u8; 32] = [2; 32];
pub(crate) const SERVICE: Service = Service::new([7; 32]);
pub(crate) const EPOCH: Epoch = Epoch(5);

/// Everything costs ten tokens.
pub(crate) struct Ten;

impl Tariff for Ten {
    fn price(&self, _: OpCode, _: &[u8]) -> Option<NonZeroU64> {
        NonZeroU64::new(10)
    }

    fn largest_adjust(&self, _: OpCode, _: &[u8]) -> u64 {
        10
    }
}

pub(crate) type Scene = Ledger<Memory, Ten>;

pub(crate) fn scene() -> Scene {
    scene_of(SERVICE)
}

pub(crate) fn scene_of(service: Service) -> Scene {
    Ledger::new(issuer_of(service, EPOCH), Memory::new(), Ten).unwrap()
}

pub(crate) fn issuer(epoch: Epoch) -> Issuer {
    issuer_of(SERVICE, epoch)
}

fn issuer_of(service: Service, epoch: Epoch) -> Issuer {
    Issuer::new(&MasterSecret::from_bytes(MASTER), service, epoch, 1)
}

pub(crate) fn root() -> Root {
    Root::from_bytes(ROOT)
}

/// A purchase that can be claimed.
pub(crate) fn purchase(scene: &Scene, index: u64, amount: u64) -> InFlight {
    let claim = root().claim_secret(index);
    scene.open_claim(&claim.tag(), [0; 32], amount).unwrap();
    scene.mark_paid(&claim.tag()).unwrap();
    InFlight::purchase(&root(), scene.issuer().record(), &claim, amount, None).unwrap()
}

pub(crate) fn spend(scene: &Scene, pair: &Unspent, spending: &Spending<'_>) -> InFlight {
    let pair = Unspent::decode(&*pair.encode()).unwrap();
    pair.spend(&root(), scene.issuer().record(), spending)
        .unwrap()
}

/// Performs it, giving `adjust` back.
pub(crate) fn settle(scene: &Scene, in_flight: InFlight, adjust: u64) -> (Reply, Unspent) {
    let outcome = Outcome {
        adjust,
        ..Outcome::DONE
    };
    let reply = scene.process(in_flight.core(), |_, _| Ok(outcome)).unwrap();
    let record = scene.issuer().record();
    let rule = AdjustRule::Exactly(adjust);
    match in_flight.accept(&root(), record, reply.clone(), rule) {
        Ok(Settled::Performed(replaced)) => (reply, replaced.pair),
        other => panic!("not performed: {other:?}"),
    }
}

/// The nonce commitments of a proof, as its verifier recomputes them.
pub(crate) fn nonce_commitments(statement: &Statement<'_>, proof: &[u8]) -> Vec<[u8; 32]> {
    let mut reader = NargReader::new(proof);
    let challenge = Scalar::deserialize_scalar(&mut reader).unwrap();
    let response = statement.deserialize_response(&mut reader).unwrap();
    let commitments = statement
        .simulate_commitment(&challenge, &response)
        .unwrap();
    let bytes = statement.serialize_commitment(&commitments);
    bytes.as_chunks::<32>().0.to_vec()
}

/// The MACs that an issuance puts on these outputs.
pub(crate) fn issued(outputs: [Point; 2], issuance: &Issuance) -> [Issued; 2] {
    let attributes = adjusted(outputs, issuance.adjust());
    std::array::from_fn(|j| {
        let t = decode_scalar(issuance.macs[j].t).unwrap();
        Issued {
            M: attributes[j],
            t,
            U: U(&t).into(),
            V: Point::decode(&issuance.macs[j].V).unwrap(),
        }
    })
}

/// The same scalar, encoded as a number above the group order.
pub(crate) fn plus_order(scalar: [u8; 32]) -> [u8; 32] {
    let mut order = (-Scalar::ONE).to_bytes();
    order[0] += 1;
    let mut carry = 0;
    std::array::from_fn(|place| {
        let sum = u16::from(scalar[place]) + u16::from(order[place]) + carry;
        carry = sum >> 8;
        sum as u8
    })
}
