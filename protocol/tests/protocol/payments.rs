//! What ties a payment to its call, and a record to the credentials that pay under it.

use std::collections::BTreeSet;

use crate::messages::{blob, cell, key, keypair, record, server_key};
use larder_credentials::{
    ClaimTag, Epoch, IssuerKey, MasterSecret, OpCode, PARAMETERS_BYTES, RangeWidth,
};
use larder_protocol::delete::Delete;
use larder_protocol::insert::Insert;
use larder_protocol::lookup::Lookup;
use larder_protocol::record::{Prices, Tariff};
use larder_protocol::{
    BreakglassOpen, BreakglassPut, Call, DecodeError, Nonce, Op, Quote, Record, Request,
    issuer_commitment,
};

fn issuer(server: u8, epoch: u32) -> [u8; PARAMETERS_BYTES] {
    let service = Record {
        server_key: server_key(server),
        ..record(epoch, None)
    }
    .service();
    let master = MasterSecret::from_bytes([1; 32]);
    IssuerKey::derive(&master, &service, Epoch(epoch))
        .parameters()
        .encode()
}

/// The record of epoch 7 under which these issuer parameters are live.
fn paid(issuers: Vec<[u8; PARAMETERS_BYTES]>) -> Record {
    let prices = Prices {
        insert: 8,
        lookup: 1,
        delete: 1,
        breakglass: 4,
        transfer: 1,
    };
    let tariff = Tariff {
        issuers,
        next_issuer: issuer_commitment(&issuer(1, 8)),
        passes: None,
        earlier: vec![],
        prices,
        refunds: vec![],
        denominations: vec![],
        breakglass_seconds: 0,
        next_takes: 1,
    };
    record(7, Some(tariff))
}

#[test]
fn no_two_calls_have_one_digest() {
    let delete = |number, seed| {
        let delete = Delete::sign(&keypair(number), &server_key(1), blob(seed).hash());
        Call::Delete(delete)
    };
    let insert = |number, seed| {
        let (key, blob) = (key(number), blob(seed));
        Call::Insert(Insert { key, blob })
    };
    let lookup = |number| Call::Lookup(Lookup { key: key(number) });
    let put = |number, sequence, seed| {
        let put = BreakglassPut::sign(&keypair(number), &server_key(1), sequence, cell(seed));
        Call::BreakglassPut(Box::new(put))
    };
    let open = |number, nonce| {
        let nonce = Nonce([nonce; 32]);
        Call::BreakglassOpen(BreakglassOpen::sign(
            &keypair(number),
            &server_key(1),
            nonce,
        ))
    };
    let quote = |tokens, tag, voucher| {
        let tags = vec![ClaimTag([tag; 32])];
        Call::Quote(Quote {
            tokens,
            tags,
            voucher,
        })
    };
    let calls = [
        Call::Info,
        insert(5, 0),
        insert(6, 0),
        insert(5, 1),
        delete(5, 0),
        delete(6, 0),
        delete(5, 1),
        lookup(5),
        lookup(6),
        put(5, 1, 0),
        put(6, 1, 0),
        put(5, 2, 0),
        put(5, 1, 1),
        open(5, 1),
        open(6, 1),
        open(5, 2),
        Call::Transfer,
        Call::Reissue,
        quote(1, 1, None),
        quote(2, 1, None),
        quote(1, 2, None),
        quote(1, 1, Some(vec![1])),
        Call::Purchase,
    ];
    let digests: BTreeSet<[u8; 32]> = calls.iter().map(Call::digest).collect();
    assert_eq!(digests.len(), calls.len());
    assert_eq!(lookup(5).digest(), lookup(5).digest());
}

#[test]
fn every_paid_operation_has_a_code_of_its_own_and_free_ones_have_none() {
    let code = |op: Op| op.paid_as().map(OpCode::code);
    assert_eq!(code(Op::Insert), Some(17));
    assert_eq!(code(Op::Delete), Some(18));
    assert_eq!(code(Op::Lookup), Some(19));
    assert_eq!(code(Op::BreakglassPut), Some(20));
    assert_eq!(Op::Transfer.paid_as(), Some(OpCode::TRANSFER));
    assert_eq!(Op::Reissue.paid_as(), Some(OpCode::REISSUE));
    assert_eq!(Op::Purchase.paid_as(), Some(OpCode::PURCHASE));
    assert_eq!(code(Op::Info), None);
    assert_eq!(code(Op::BreakglassOpen), None);
    assert_eq!(code(Op::Quote), None);
}

#[test]
fn an_operation_is_known_by_the_first_byte_of_its_body() {
    let open = BreakglassOpen::sign(&keypair(5), &server_key(1), Nonce([1; 32]));
    let body = |call| Request::unpaid(Nonce([1; 32]), call).encode();
    let open = body(Call::BreakglassOpen(open));
    assert!(Op::BreakglassOpen.begins(&open));
    assert!(!Op::BreakglassPut.begins(&open));
    assert!(!Op::BreakglassOpen.begins(&body(Call::Info)));
    assert!(Op::Info.begins(&body(Call::Info)));
    assert!(!Op::Info.begins(&[]));
}

#[test]
fn credentials_of_one_server_are_for_no_other() {
    let here = record(7, None).service();
    let there = Record {
        server_key: server_key(2),
        ..record(7, None)
    };
    assert_ne!(here.id(), there.service().id());
    assert_eq!(here, record(8, None).service(), "an epoch changes nothing");
    assert_eq!(here.range(), RangeWidth::Bits32);
}

#[test]
fn a_paid_record_gives_the_keys_of_its_live_epochs_and_a_free_one_none() {
    assert!(record(7, None).credentials().is_none());
    let paid = paid(vec![issuer(1, 5), issuer(1, 7)]);
    let record = paid.credentials().expect("it is paid").expect("in order");
    assert_eq!(record.service(), &paid.service());
    assert_eq!(record.current(), Epoch(7));
    let live: Vec<_> = record.live().map(|live| live.encode()).collect();
    assert_eq!(live, [issuer(1, 5), issuer(1, 7)]);
}

#[test]
fn issuer_parameters_that_are_none_or_of_other_epochs_are_the_servers_fault() {
    let wrong = [
        ("none at all", vec![]),
        ("not the current epoch", vec![issuer(1, 6)]),
        ("a future epoch", vec![issuer(1, 7), issuer(1, 8)]),
        ("an epoch twice", vec![issuer(1, 7), issuer(2, 7)]),
        ("the newest first", vec![issuer(1, 7), issuer(1, 6)]),
        ("no points", vec![[7; PARAMETERS_BYTES]]),
    ];
    for (what, issuers) in wrong {
        let read = paid(issuers).credentials().expect("it is paid");
        assert!(matches!(read, Err(DecodeError::Inconsistent(_))), "{what}");
    }
}

#[test]
fn a_commitment_is_to_one_issuer_only() {
    let commitment = issuer_commitment(&issuer(1, 8));
    assert_eq!(commitment, issuer_commitment(&issuer(1, 8)));
    assert_ne!(commitment, issuer_commitment(&issuer(1, 9)));
    assert_ne!(commitment, issuer_commitment(&issuer(2, 8)));
}
