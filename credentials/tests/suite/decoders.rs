//! No bytes make a decoder panic, allocate without bound or accept a second form.

use std::cell::RefCell;
use std::sync::LazyLock;

use larder_credentials::{
    AdjustRule, Credential, InFlight, Parameters, Reply, Request, Row, Spending, Unspent,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::fixture::*;

/// One valid encoding of each kind.
struct Samples {
    ledger: TestLedger,
    wide: TestLedger,
    wide_purchase: Vec<u8>,
    spend: Vec<u8>,
    purchase: Vec<u8>,
    /// Performed; not performed, with one row and with two.
    replies: [Vec<u8>; 3],
    pair: Vec<u8>,
    parameters: Vec<u8>,
}

static SAMPLES: LazyLock<Samples> = LazyLock::new(|| {
    let (ledger, root, pair) = funded();
    let record = ledger.issuer().record();
    let claim = paid_claim(&ledger, &root, 1, 50);
    let purchase = InFlight::purchase(&root, record, &claim, 50, None).unwrap();
    let first = spend(&pair, &root, record, Spending::transfer(FEE));
    let second = spend(&pair, &root, record, Spending::on(WORK, b"other", PRICE));
    let another = buy(&ledger, &root, 2, 100);
    let third = spend(&another, &root, record, Spending::transfer(FEE));
    ledger.process(first.core(), never).unwrap();
    ledger.process(third.core(), never).unwrap();
    let ([one, _], [two, _]) = (copy(&pair).into_credentials(), another.into_credentials());
    let mixed = Unspent::new([one, two]).unwrap();
    let mixed = spend(&mixed, &root, record, Spending::transfer(FEE));
    let replies = [first.core(), second.core(), mixed.core()]
        .map(|core| ledger.process(core, never).unwrap().encode());
    let wide = ledger_of(WIDE);
    let wide_record = wide.issuer().record();
    let wide_purchase = InFlight::purchase(&root, wide_record, &claim, 50, None).unwrap();
    Samples {
        wide_purchase: wide_purchase.core().to_vec(),
        wide,
        spend: second.core().to_vec(),
        purchase: purchase.core().to_vec(),
        replies,
        pair: pair.encode().to_vec(),
        parameters: record.parameters(EPOCH).unwrap().encode().to_vec(),
        ledger,
    }
});

/// What every decoder owes on any bytes: an error, or a value that encodes to them again.
fn decode_all(bytes: &[u8]) {
    let samples = &*SAMPLES;
    if let Ok(reply) = Reply::decode(bytes) {
        assert_eq!(reply.encode(), bytes);
    }
    if let Ok(row) = Row::decode(bytes) {
        assert_eq!(row.encode().as_slice(), bytes);
        let record = samples.ledger.issuer().record();
        // Only the genuine one opens.
        let opens = row.open(&root(), record).is_ok();
        assert_eq!(opens, bytes == &samples.replies[1][1..]);
    }
    if let Ok(credential) = Credential::decode(bytes) {
        assert_eq!(credential.encode().as_slice(), bytes);
    }
    if let Ok(pair) = Unspent::decode(bytes) {
        assert_eq!(pair.encode().as_slice(), bytes);
    }
    if let Ok(parameters) = Parameters::decode(bytes) {
        assert_eq!(parameters.encode().as_slice(), bytes);
    }
    let issuers = [&samples.ledger, &samples.wide].map(|ledger| ledger.issuer());
    let genuine: [&[&[u8]]; 2] = [
        &[&samples.spend, &samples.purchase],
        &[&samples.wide_purchase],
    ];
    for (issuer, genuine) in issuers.into_iter().zip(genuine) {
        if let Ok(request) = Request::decode(issuer.record().service(), bytes) {
            // Whatever is not one of the genuine requests must not verify.
            assert_eq!(issuer.verify(&request).is_ok(), genuine.contains(&bytes));
            assert!(request.parameters().len() < bytes.len());
        }
    }
}

/// How many kinds of sample there are.
const KINDS: usize = 10;

fn samples() -> [&'static [u8]; KINDS] {
    let samples = &*SAMPLES;
    [
        &samples.spend,
        &samples.purchase,
        &samples.wide_purchase,
        &samples.replies[0],
        &samples.replies[1],
        &samples.replies[2],
        &samples.replies[1][1..],
        &samples.pair,
        &samples.pair[..108],
        &samples.parameters,
    ]
}

#[test]
fn genuine_bytes_decode_and_every_prefix_or_suffix_of_them_does_not() {
    for sample in samples() {
        decode_all(sample);
    }
    type Decodes = fn(&[u8]) -> bool;
    let own_decoders: [(&[u8], Decodes); KINDS] = [
        (&SAMPLES.spend, |b| Request::decode(&SERVICE, b).is_ok()),
        (&SAMPLES.purchase, |b| Request::decode(&SERVICE, b).is_ok()),
        (&SAMPLES.wide_purchase, |b| {
            Request::decode(&WIDE, b).is_ok()
        }),
        (&SAMPLES.replies[0], |b| Reply::decode(b).is_ok()),
        (&SAMPLES.replies[1], |b| Reply::decode(b).is_ok()),
        (&SAMPLES.replies[2], |b| Reply::decode(b).is_ok()),
        (&SAMPLES.replies[1][1..], |b| Row::decode(b).is_ok()),
        (&SAMPLES.pair, |b| Unspent::decode(b).is_ok()),
        (&SAMPLES.pair[..108], |b| Credential::decode(b).is_ok()),
        (&SAMPLES.parameters, |b| Parameters::decode(b).is_ok()),
    ];
    for (sample, decodes) in own_decoders {
        assert!(decodes(sample));
        for length in 0..sample.len() {
            assert!(!decodes(&sample[..length]), "a prefix of {length} bytes");
        }
        assert!(!decodes(&[sample, &[0]].concat()));
    }
}

#[test]
fn a_reply_of_too_many_rows_encodes_to_one_that_decodes() {
    let Ok(Reply::NotPerformed(rows)) = Reply::decode(&SAMPLES.replies[1]) else {
        panic!("the second reply is a row");
    };
    let of = |count| Reply::NotPerformed(vec![rows[0].clone(); count]);
    for count in [1, 2] {
        assert_eq!(Reply::decode(&of(count).encode()), Ok(of(count)));
    }
    assert_eq!(Reply::decode(&of(3).encode()), Ok(of(2)));
    assert!(Reply::decode(&of(0).encode()).is_err());
}

#[test]
fn a_length_that_lies_allocates_nothing() {
    let mut core = SAMPLES.spend.clone();
    let place = core.len() - 5 - 4;
    core[place..place + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(Request::decode(&SERVICE, &core).is_err());
}

#[test]
fn a_zero_mac_nonce_is_refused_wherever_it_is_received() {
    let mut pair = SAMPLES.pair.clone();
    pair[44..76].fill(0);
    assert!(Unspent::decode(&pair).is_err());
    let mut row = SAMPLES.replies[1][1..].to_vec();
    row[250 + 8..250 + 40].fill(0);
    let row = Row::decode(&row).unwrap();
    let record = SAMPLES.ledger.issuer().record();
    assert!(row.open(&root(), record).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_decoded_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..1_600),
    ) {
        decode_all(&bytes);
    }

    #[test]
    fn arbitrary_bytes_behind_a_good_beginning_are_decoded_or_refused(
        sample in 0..KINDS,
        keep in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 0..1_600),
    ) {
        let sample = samples()[sample];
        let mut mutated = sample[..keep.index(sample.len())].to_vec();
        mutated.extend(bytes);
        mutated.truncate(sample.len());
        decode_all(&mutated);
    }

    #[test]
    fn mutated_bytes_are_decoded_or_refused(
        sample in 0..KINDS,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut mutated = samples()[sample].to_vec();
        for (place, byte) in changes {
            let place = place.index(mutated.len());
            mutated[place] = byte;
        }
        decode_all(&mutated);
    }
}

#[test]
fn mutated_answers_are_not_accepted() {
    let (ledger, root, pair) = funded();
    let record = ledger.issuer().record();
    let request = spend(&pair, &root, record, Spending::on(WORK, b"", PRICE));
    let genuine = ledger.process(request.core(), giving_back(4)).unwrap();
    let in_flight = RefCell::new(Some(request));
    let changes = (any::<prop::sample::Index>(), 1..=u8::MAX);
    let changes = prop::collection::vec(changes, 1..6);
    let runner = ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let cases = TestRunner::new(runner).run(&changes, |changes| {
        let mut mutated = genuine.encode();
        for (place, change) in changes {
            let place = place.index(mutated.len());
            mutated[place] ^= change;
        }
        match Reply::decode(&mutated) {
            // Two changes of one byte may cancel.
            Ok(reply) if reply != genuine => {
                let request = in_flight.take().unwrap();
                let rule = AdjustRule::AtMost(u64::MAX);
                let answer = request.accept(&root, record, reply, rule);
                in_flight.replace(Some(answer.expect_err("a changed answer").in_flight));
            }
            _ => {}
        }
        Ok(())
    });
    cases.unwrap();
    let request = in_flight.take().unwrap();
    assert!(
        request
            .accept(&root, record, genuine, AdjustRule::Exactly(4))
            .is_ok()
    );
}
