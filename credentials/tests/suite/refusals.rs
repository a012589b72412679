//! Refused requests consume nothing and store nothing.

use larder_credentials::ledger::{
    Admitted, LedgerError, Reads as _, Storage as _, Supply, Transaction as _, Writes as _,
};
use larder_credentials::{
    Epoch, Fault, HolderError, InFlight, Issuer, Malformed, OpCode, Record, Refusal, Reply,
    Request, Service, Spending, Unspent,
};

use crate::fixture::*;

/// The group order: the smallest non-canonical scalar, little-endian.
const ORDER: [u8; 32] = {
    let mut order = [0; 32];
    let low: [u8; 16] = 0x14de_f9de_a2f7_9cd6_5812_631a_5cf5_d3ed_u128.to_le_bytes();
    let mut place = 0;
    while place < 16 {
        order[place] = low[place];
        place += 1;
    }
    order[31] = 0x10;
    order
};

#[test]
fn a_wrong_price_is_refused_with_the_right_one() {
    let (ledger, root, pair) = funded();
    let record = ledger.issuer().record();
    for wrong in [PRICE - 1, PRICE + 1] {
        let in_flight = spend(&pair, &root, record, Spending::on(WORK, b"", wrong));
        let price = PRICE as i64;
        assert_eq!(
            refusal(ledger.process(in_flight.core(), never)),
            Refusal::WrongPrice { price }
        );
    }
    let in_flight = spend(&pair, &root, record, Spending::on(WORK, b"", PRICE));
    ledger.process(in_flight.core(), done).unwrap();
}

#[test]
fn an_operation_that_is_not_offered_is_refused() {
    let (ledger, root, pair) = funded();
    let record = ledger.issuer().record();
    let other = OpCode::of_service(21).unwrap();
    let in_flight = spend(&pair, &root, record, Spending::on(other, b"", PRICE));
    let refused = refusal(ledger.process(in_flight.core(), never));
    assert_eq!(refused, Refusal::UnknownOperation);
    assert!(OpCode::of_service(OpCode::FIRST_OF_SERVICE - 1).is_none());
}

#[test]
fn a_refused_pair_can_be_spent_afterwards() {
    let (ledger, root, pair) = funded();
    let record = ledger.issuer().record();
    let before = (ledger.storage().references(), supply(&ledger));
    let in_flight = spend(&pair, &root, record, Spending::on(WORK, b"", 1));
    refusal(ledger.process(in_flight.core(), never));
    assert_eq!((ledger.storage().references(), supply(&ledger)), before);
    let pair = in_flight.abandon().unwrap();
    let in_flight = pair.spend(&root, record, &Spending::transfer(FEE)).unwrap();
    ledger.process(in_flight.core(), never).unwrap();
}

/// Replaces 32 bytes of the core.
fn with_field(core: &[u8], place: usize, field: [u8; 32]) -> Vec<u8> {
    let mut core = core.to_vec();
    core[place..place + 32].copy_from_slice(&field);
    core
}

#[test]
fn identity_and_non_canonical_points_are_refused_wherever_a_point_is_received() {
    let (ledger, root, pair) = funded();
    let in_flight = request(&ledger, &pair, &root, Spending::transfer(FEE));
    let core = in_flight.core();
    let identity = [0; 32];
    // A negative field element, one that is not reduced, and one that is no square.
    let mut negative = [0; 32];
    negative[0] = 1;
    let mut unreduced = [0xff; 32];
    unreduced[31] = 0x7f;
    let mut high_bit: [u8; 32] = core[19..51].try_into().unwrap();
    high_bit[31] |= 0x80;
    // Ten points of the presentations, two outputs.
    let presented = (0..12).map(|point| 19 + 32 * point);
    // A, A1, B of the range proof follow its first byte and d1; then r1, s1; then L and R.
    let range_proof = 19 + 12 * 32 + 44 + 1;
    let in_range_proof = [1, 2, 3]
        .into_iter()
        .chain(6..18)
        .map(|p| range_proof + 32 * p);
    for place in presented.chain(in_range_proof) {
        for bad in [identity, negative, unreduced, high_bit] {
            let core = with_field(core, place, bad);
            let refused = refusal(ledger.process(&core, never));
            assert_eq!(refused, Refusal::Malformed(Malformed::Point), "at {place}");
        }
    }
    ledger.process(core, never).unwrap();
}

#[test]
fn non_canonical_scalars_are_refused_wherever_a_scalar_is_received() {
    let (ledger, root, pair) = funded();
    let in_flight = request(&ledger, &pair, &root, Spending::transfer(FEE));
    let core = in_flight.core();
    let mut big_endian = ORDER;
    big_endian.reverse();
    let range_proof = 19 + 12 * 32 + 44 + 1;
    for place in [0, 4, 5].map(|scalar| range_proof + 32 * scalar) {
        let core = with_field(core, place, ORDER);
        refusal(ledger.process(&core, never));
        // The value plus the order: the same scalar, in another form.
        let same = add(&core_field(in_flight.core(), place), &ORDER);
        let core = with_field(in_flight.core(), place, same);
        refusal(ledger.process(&core, never));
    }
    let proof = 19 + 12 * 32 + 44 + 577;
    for scalar in 0..12 {
        let place = proof + 32 * scalar;
        refusal(ledger.process(&with_field(core, place, big_endian), never));
        let mut value = core_field(core, place);
        value.reverse();
        let mut same = add(&value, &ORDER);
        same.reverse();
        refusal(ledger.process(&with_field(core, place, same), never));
    }
    ledger.process(core, never).unwrap();
}

fn core_field(core: &[u8], place: usize) -> [u8; 32] {
    core[place..place + 32].try_into().unwrap()
}

/// The sum of two little-endian numbers below 2^255.
fn add(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    let mut sum = [0; 32];
    let mut carry = 0;
    for place in 0..32 {
        let digit = u16::from(a[place]) + u16::from(b[place]) + carry;
        sum[place] = digit as u8;
        carry = digit >> 8;
    }
    sum
}

#[test]
fn a_holder_does_not_build_what_cannot_be_paid() {
    let (ledger, root) = (ledger(), root());
    let record = ledger.issuer().record();
    let pair = buy(&ledger, &root, 0, 9);
    let attempts = [
        (Spending::on(WORK, b"", PRICE), HolderError::NotEnoughTokens),
        (
            Spending::transfer(FEE).into_outputs([9, 0]),
            HolderError::BadSplit,
        ),
        (
            Spending::transfer(FEE).into_outputs([u64::MAX, 9]),
            HolderError::BadSplit,
        ),
        (Spending::transfer(0), HolderError::BadOperation),
        (Spending::reissue(), HolderError::BadOperation),
        (
            Spending::on(OpCode::PURCHASE, &[0; 32], 1),
            HolderError::BadOperation,
        ),
        (
            Spending::on(OpCode::TRANSFER, b"x", FEE),
            HolderError::BadOperation,
        ),
    ];
    for (spending, expected) in attempts {
        let failed = copy(&pair).spend(&root, record, &spending).unwrap_err();
        assert_eq!(failed.error, expected);
        assert_eq!(failed.error.fault(), Fault::Holder);
        assert_eq!(*failed.pair.encode(), *pair.encode());
    }
}

#[test]
fn an_output_beyond_the_range_cannot_be_proved() {
    let (ledger, root) = (ledger(), root());
    let record = ledger.issuer().record();
    let pair = buy(&ledger, &root, 0, (1 << 32) + 9);
    let beyond = Spending::transfer(FEE).into_outputs([1 << 32, 8]);
    let failed = pair.spend(&root, record, &beyond).unwrap_err();
    assert_eq!(failed.error, HolderError::BadSplit);

    // A request of a wider service has another size, and is none here.
    let wide = ledger_of(WIDE);
    let pair = buy(&wide, &root, 0, 1 << 40);
    let in_flight = request(&wide, &pair, &root, Spending::transfer(FEE));
    assert!(matches!(
        refusal(ledger.process(in_flight.core(), never)),
        Refusal::Malformed(_)
    ));
}

#[test]
fn one_bad_request_in_a_batch_spoils_nothing_for_the_others() {
    let (ledger, root) = (ledger(), root());
    let record = ledger.issuer().record();
    let decode = |core: &[u8]| Request::decode(&SERVICE, core).unwrap();
    let good: Vec<Vec<u8>> = (0..7)
        .map(|index| {
            let pair = buy(&ledger, &root, index, 100);
            spend(&pair, &root, record, Spending::transfer(FEE))
                .core()
                .to_vec()
        })
        .collect();
    let all_good: Vec<Request> = good.iter().map(|core| decode(core)).collect();
    let verify = |requests: &[Request]| {
        ledger
            .issuer()
            .verify_batch(&requests.iter().collect::<Vec<_>>())
    };
    assert_eq!(verify(&all_good), vec![Ok(()); 7]);
    assert_eq!(verify(&[]), vec![]);

    // Spoil the Σ-proof of one and the range proof of two others. A range proof is bound
    // into the Σ-proof, so the only ones that fail alone are those of a cheating prover:
    // see the unit tests of the range proof.
    let proof = 19 + 12 * 32 + 44 + 577;
    let spoilt = [(1, proof + 40), (4, proof - 40), (5, 100)];
    let mut cores = good.clone();
    for (request, place) in spoilt {
        cores[request][place] ^= 1;
    }
    let requests: Vec<Request> = cores.iter().map(|core| decode(core)).collect();
    let results = verify(&requests);
    for (place, result) in results.iter().enumerate() {
        assert_eq!(
            result.is_err(),
            [1, 4, 5].contains(&place),
            "{place}: {result:?}"
        );
        let alone = ledger.issuer().verify(&requests[place]);
        assert_eq!(alone, *result);
    }
}

#[test]
fn a_record_is_consistent_or_none() {
    let issuer = issuer(SERVICE, EPOCH);
    let live: Vec<_> = issuer.record().live().cloned().collect();
    assert_eq!(live.len(), 3);
    let [oldest, _, newest] = live.as_slice() else {
        panic!("three epochs are live");
    };
    assert!(Record::new(SERVICE, EPOCH, live.clone()).is_ok());
    assert!(Record::new(SERVICE, EPOCH, [oldest.clone()]).is_err());
    assert!(Record::new(SERVICE, EPOCH, [newest.clone(), newest.clone()]).is_err());
    assert!(Record::new(SERVICE, oldest.epoch(), live.clone()).is_err());
    let later = Issuer::new(&master(), SERVICE, Epoch(EPOCH.0 + 1), 0);
    assert_eq!(later.record().live().count(), 1);
}

#[test]
fn secrets_print_nothing() {
    let (ledger, root) = (ledger(), root());
    let record = ledger.issuer().record();
    let claim = root.claim_secret(0);
    let pair = buy(&ledger, &root, 0, 123_456);
    let [first, _] = pair.credentials();
    let other = spend(&pair, &root, record, Spending::on(WORK, b"", PRICE));
    let Ok(Reply::Performed { issuance, .. }) = ledger.process(other.core(), done) else {
        panic!("nothing was spent before");
    };
    let Ok(mut transaction) = ledger.storage().begin();
    let Ok(Some(known)) = transaction.claim(&claim.tag()) else {
        panic!("it was claimed");
    };
    drop(transaction);
    let printed = [
        format!("{root:?}"),
        format!("{:?}", master()),
        format!("{claim:?} {:?}", claim.tag()),
        format!("{pair:?} {first:?}"),
        format!("{:?}", first.serial()),
        format!("{:?}", ledger.issuer().current_key()),
        format!("{:?}", spend(&pair, &root, record, Spending::transfer(FEE))),
        format!("{issuance:?}"),
        format!("{known:?}"),
    ];
    let expected = [
        "Root",
        "MasterSecret",
        "ClaimSecret ClaimTag",
        "Unspent Credential",
        "Reference",
        "IssuerKey(Epoch(5))",
        "InFlight",
        "Issuance",
        "Claim { paid: true, consumed: true, .. }",
    ];
    assert_eq!(printed, expected);
    let _: Unspent = pair;
}

#[test]
fn an_operation_that_the_service_refuses_leaves_nothing() {
    let (ledger, root, pair) = funded();
    let record = ledger.issuer().record();
    let in_flight = spend(&pair, &root, record, Spending::on(WORK, b"", PRICE));
    let before = (ledger.storage().references(), supply(&ledger));
    let refused = ledger.process(in_flight.core(), |transaction, _| {
        // What it wrote before it refused is undone.
        let Ok(()) = transaction.put_supply(Supply::default());
        Err(Refusal::UnknownOperation.into())
    });
    assert_eq!(refusal(refused), Refusal::UnknownOperation);
    assert_eq!((ledger.storage().references(), supply(&ledger)), before);
    ledger.process(in_flight.core(), done).unwrap();
}

#[test]
fn the_tariff_bounds_what_a_service_gives_back() {
    let (ledger, root, pair) = funded();
    let record = ledger.issuer().record();
    let in_flight = spend(&pair, &root, record, Spending::on(WORK, b"", PRICE));
    let before = (ledger.storage().references(), supply(&ledger));
    let adjust = LARGEST_ADJUST + 1;
    let too_much = LedgerError::AdjustTooLarge {
        adjust,
        largest: LARGEST_ADJUST,
    };
    let refused = ledger.process(in_flight.core(), giving_back(adjust));
    assert_eq!(refused, Err(too_much));
    assert_eq!((ledger.storage().references(), supply(&ledger)), before);
    let allowed = ledger.process(in_flight.core(), giving_back(LARGEST_ADJUST));
    assert!(allowed.is_ok());
}

#[test]
fn nothing_is_performed_for_tokens_that_cannot_exist() {
    let (ledger, root, pair) = funded();
    let Ok(mut transaction) = ledger.storage().begin();
    let forged = Supply {
        outstanding: u128::from(PRICE) - 1,
        halted: false,
    };
    let Ok(()) = transaction
        .put_supply(forged)
        .and_then(|()| transaction.commit());
    let record = ledger.issuer().record();
    let in_flight = spend(&pair, &root, record, Spending::on(WORK, b"", PRICE));
    assert_eq!(
        refusal(ledger.process(in_flight.core(), never)),
        Refusal::Halted
    );
}

#[test]
fn what_one_service_verified_no_other_settles() {
    let (here, root) = (ledger(), root());
    let there = ledger_of(Service::new([8; 32]));
    let claim = paid_claim(&here, &root, 0, 100);
    paid_claim(&there, &root, 0, 100);
    let record = here.issuer().record();
    let purchase = InFlight::purchase(&root, record, &claim, 100, None).unwrap();
    let Ok(Admitted::Unverified(request)) = here.admit(purchase.core()) else {
        panic!("it was not claimed before");
    };
    let verified = here.verify(vec![request]).remove(0).unwrap();
    let refused = refusal(there.settle(verified.clone(), never));
    assert_eq!(refused, Refusal::BadProof);
    assert_eq!(supply(&there).outstanding, 0);
    here.settle(verified, never).unwrap();
}

#[test]
fn a_master_shared_by_two_services_lets_no_pair_be_spent_at_both() {
    let (here, root) = (ledger(), root());
    let there = ledger_of(Service::new([8; 32]));
    let pair = buy(&here, &root, 0, 100);
    // Something has to be outstanding there, or the canary would find out first.
    buy(&there, &root, 0, 100);
    let record = there.issuer().record();
    let in_flight = spend(&pair, &root, record, Spending::transfer(FEE));
    assert_eq!(
        refusal(there.process(in_flight.core(), never)),
        Refusal::BadProof
    );
}
