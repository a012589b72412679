//! What an issuer signs, for whom, and that it never uses a nonce twice.

use std::collections::HashSet;

use curve25519_dalek::scalar::Scalar;

use crate::group::Point;
use crate::issuance::IssuanceContext;
use crate::operation::{ClaimTag, Reference, References};
use crate::statement;
use crate::test_scene::{
    EPOCH, MASTER, SERVICE, issued, issuer, nonce_commitments, purchase, root, scene, settle, spend,
};
use crate::{
    AdjustRule, Epoch, Fault, HolderError, Issuer, IssuerKey, MasterSecret, OpCode, Refusal, Reply,
    Service, Spending, Status,
};

#[test]
fn whatever_differs_in_what_is_signed_no_nonce_occurs_twice() {
    let serials = References::Serials([Reference([1; 32]), Reference([2; 32])]);
    let others = [
        References::Serials([Reference([3; 32]), Reference([2; 32])]),
        References::Serials([Reference([1; 32]), Reference([3; 32])]),
        References::Claim(ClaimTag([1; 32])),
    ];
    let first = IssuanceContext {
        core_hash: &[4; 32],
        op_digest: &[5; 32],
        op: OpCode::TRANSFER,
        status: Status::DONE,
        cost: 10,
        references: &serials,
    };
    let (core_hash, op_digest, op) = (&[6; 32], &[7; 32], OpCode::REISSUE);
    let (status, cost) = (Status(1), 11);
    let mut contexts = vec![
        IssuanceContext { ..first },
        IssuanceContext { core_hash, ..first },
        IssuanceContext { op_digest, ..first },
        IssuanceContext { op, ..first },
        IssuanceContext { status, ..first },
        IssuanceContext { cost, ..first },
    ];
    for references in &others {
        contexts.push(IssuanceContext {
            references,
            ..first
        });
    }
    let point = |n: u64| Point::from(crate::generators::commit(n, &Scalar::from(n + 1)));
    let [a, b, c] = [1, 2, 3].map(point);
    let (this, next) = (issuer(EPOCH), issuer(Epoch(EPOCH.0 + 1)));
    let (this, next) = (this.current_key(), next.current_key());
    let mut signed: Vec<_> = contexts
        .iter()
        .map(|context| (this, context, [a, b], 0))
        .collect();
    signed.extend([
        (this, &first, [a, c], 0),
        (this, &first, [c, b], 0),
        (this, &first, [b, a], 0),
        (this, &first, [a, b], 1),
        (next, &first, [a, b], 0),
    ]);
    let mut seen = HashSet::new();
    for (place, (key, context, outputs, adjust)) in signed.into_iter().enumerate() {
        let issuance = key.issue(context, outputs, adjust).unwrap();
        let statement = statement::issue(key.parameters().issue(), issued(outputs, &issuance));
        let mut fields = nonce_commitments(&statement, &issuance.proof);
        assert_eq!(fields.len(), 4);
        fields.extend(issuance.macs.map(|mac| mac.t));
        for field in fields {
            assert!(seen.insert(field), "a nonce occurs twice, in case {place}");
        }
    }
}

#[test]
fn only_requests_of_the_current_epoch_and_of_this_service_are_issued_for() {
    let scene = scene();
    let (_, pair) = settle(&scene, purchase(&scene, 0, 100), 0);
    let in_flight = spend(&scene, &pair, &Spending::transfer(10));
    let request = in_flight.request();
    assert!(scene.issuer().issue(request, Status::DONE, 0).is_ok());
    let refused = issuer(Epoch(6)).issue(request, Status::DONE, 0);
    assert!(matches!(refused, Err(Refusal::WrongEpoch { .. })));
    for service in [Service::new([8; 32]), Service::wide(*SERVICE.id())] {
        let elsewhere = Issuer::new(&MasterSecret::from_bytes(MASTER), service, EPOCH, 1);
        let refused = elsewhere.issue(request, Status::DONE, 0);
        assert_eq!(refused, Err(Refusal::BadProof));
        assert_eq!(elsewhere.verify(request), Err(Refusal::BadProof));
    }
}

#[test]
fn one_master_gives_each_service_width_and_epoch_a_key_of_its_own() {
    let master = MasterSecret::from_bytes(MASTER);
    let (other, wide) = (Service::new([8; 32]), Service::wide(*SERVICE.id()));
    let keys = [
        (SERVICE, EPOCH),
        (SERVICE, Epoch(6)),
        (other, EPOCH),
        (wide, EPOCH),
    ];
    let mut seen = HashSet::new();
    for (service, epoch) in keys {
        for scalar in IssuerKey::derive(&master, &service, epoch).witness() {
            assert!(seen.insert(scalar.to_bytes()));
        }
    }
}

#[test]
fn a_second_issuer_key_is_found_out() {
    let scene = scene();
    let (_, pair) = settle(&scene, purchase(&scene, 0, 100), 0);
    let in_flight = spend(&scene, &pair, &Spending::transfer(10));
    let tagging = Issuer::new(&MasterSecret::from_bytes([99; 32]), SERVICE, EPOCH, 1);
    let issuance = tagging.issue(in_flight.request(), Status::DONE, 0).unwrap();
    let reply = Reply::Performed {
        status: Status::DONE,
        issuance: Box::new(issuance),
    };
    let record = scene.issuer().record();
    let rejected = in_flight.accept(&root(), record, reply, AdjustRule::Exactly(0));
    let error = rejected.unwrap_err().error;
    assert_eq!(error, HolderError::BadIssuance);
    assert_eq!(error.fault(), Fault::Issuer);
}
