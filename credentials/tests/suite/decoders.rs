//! No bytes make a decoder panic, allocate without bound or accept a second form.

use larder_credentials::{
    Credential, InFlight, Parameters, Reply, Request, Row, Spending, Unspent,
};
use proptest::prelude::*;
use std::sync::LazyLock;

use crate::fixture::*;

/// One valid encoding of each kind.
struct Samples {
    ledger: TestLedger,
    spend: Vec<u8>,
    purchase: Vec<u8>,
    replies: [Vec<u8>; 2],
    pair: Vec<u8>,
    parameters: Vec<u8>,
}

static SAMPLES: LazyLock<Samples> = LazyLock::new(|| {
    let (ledger, root) = (ledger(), root());
    let record = ledger.issuer().record();
    let pair = buy(&ledger, &root, 0, 100);
    let claim = paid_claim(&ledger, &root, 1, 50);
    let purchase = InFlight::purchase(&root, record, &claim, 50, None).unwrap();
    let first = spend(&pair, &root, record, Spending::transfer(FEE));
    let second = spend(&pair, &root, record, Spending::on(WORK, b"other", PRICE));
    let replies =
        [first.core(), second.core()].map(|core| ledger.process(core, never).unwrap().encode());
    Samples {
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
        // Opening it must not panic either.
        let _ = row.open(&root(), record);
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
    if let Ok(request) = Request::decode(&SERVICE, bytes) {
        // Whatever is not one of the two genuine requests must not verify.
        let genuine = bytes == samples.spend || bytes == samples.purchase;
        assert_eq!(samples.ledger.issuer().verify(&request).is_ok(), genuine);
        assert!(request.parameters().len() < bytes.len());
    }
}

fn samples() -> Vec<&'static [u8]> {
    let samples = &*SAMPLES;
    vec![
        &samples.spend,
        &samples.purchase,
        &samples.replies[0],
        &samples.replies[1],
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
    let own_decoders: [(&[u8], Decodes); 8] = [
        (&SAMPLES.spend, |b| Request::decode(&SERVICE, b).is_ok()),
        (&SAMPLES.purchase, |b| Request::decode(&SERVICE, b).is_ok()),
        (&SAMPLES.replies[0], |b| Reply::decode(b).is_ok()),
        (&SAMPLES.replies[1], |b| Reply::decode(b).is_ok()),
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
        sample in 0..8_usize,
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
        sample in 0..8_usize,
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
