//! Every decoder against what it wrote itself, what somebody changed, and noise.

use crate::messages::{self, keypair, record};
use larder_credentials::ClaimTag;
use larder_protocol::envelope::{self, BIG_LEN, MAX_LEN, SMALL_MAX_LEN};
use larder_protocol::record::{Prices, Tariff};
use larder_protocol::{
    Address, Call, DecodeError, Done, Earlier, Key, NodeId, Nonce, Payment, Quote, Quoted,
    RecordHash, Reply, Request, SignedRecord, SizeClass, VERSION, Voucher,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// What a decoder made of some bytes, written again; `None` if it refused them.
type Rewrite = fn(&[u8]) -> Option<Vec<u8>>;

/// Everything that reads bytes from outside. Whatever one accepts it must write the same way,
/// or two parties could see different bytes in one message.
const DECODERS: [(&str, Rewrite); 5] = [
    ("request", |bytes| {
        Request::decode(bytes).ok().map(|request| request.encode())
    }),
    ("reply", |bytes| {
        Reply::decode(bytes).ok().map(|reply| reply.encode())
    }),
    ("record", |bytes| {
        SignedRecord::decode(bytes)
            .ok()
            .map(|record| record.encode())
    }),
    ("voucher", |bytes| {
        Voucher::decode(bytes).ok().map(|voucher| voucher.encode())
    }),
    ("envelope", |bytes| {
        let body = envelope::unwrap(bytes).ok()?;
        let mut again = vec![VERSION];
        again.extend_from_slice(&(body.len() as u16).to_be_bytes());
        again.extend_from_slice(body);
        again.resize(bytes.len(), 0);
        Some(again)
    }),
];

/// Nothing may have two forms: what a decoder accepts, it would write the same way.
fn accepts_only_what_it_would_write(bytes: &[u8]) {
    for (what, rewrite) in DECODERS {
        let Some(again) = rewrite(bytes) else {
            continue;
        };
        let rest = bytes.strip_prefix(&again[..]).unwrap_or_else(|| {
            panic!("{what}: accepted a second form of the same message");
        });
        assert!(
            only_unknown_odd(rest),
            "{what}: accepted bytes behind the message"
        );
    }
}

/// Whether these bytes are a stream of unknown odd types and nothing else: the one thing that a
/// decoder skips.
fn only_unknown_odd(mut rest: &[u8]) -> bool {
    let mut last = None;
    while !rest.is_empty() {
        let Some((kind, behind)) = big_size(rest) else {
            return false;
        };
        let Some((len, behind)) = big_size(behind) else {
            return false;
        };
        let Some((_, behind)) = usize::try_from(len)
            .ok()
            .and_then(|len| behind.split_at_checked(len))
        else {
            return false;
        };
        let (known, ascends) = (kind == 101, last.is_none_or(|last| last < kind));
        if kind % 2 == 0 || known || !ascends {
            return false;
        }
        (last, rest) = (Some(kind), behind);
    }
    true
}

/// A number in its only form (BOLT 1), and what is behind it.
fn big_size(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let (len, least) = match first {
        0..0xfd => return Some((u64::from(*first), rest)),
        0xfd => (2, 0xfd),
        0xfe => (4, 0x1_0000),
        0xff => (8, 0x1_0000_0000),
    };
    let (number, rest) = rest.split_at_checked(len)?;
    let number = number
        .iter()
        .fold(0, |all, byte| all << 8 | u64::from(*byte));
    (number >= least).then_some((number, rest))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_request_reads_back_as_it_was_written(request in messages::request()) {
        prop_assert_eq!(Request::decode(&request.encode()), Ok(request));
    }

    #[test]
    fn every_reply_reads_back_as_it_was_written(reply in messages::reply()) {
        prop_assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
    }

    #[test]
    fn noise_is_refused_or_read_in_its_only_form(bytes in vec(any::<u8>(), 0..2_000)) {
        accepts_only_what_it_would_write(&bytes);
    }

    #[test]
    fn a_changed_byte_never_makes_a_second_form(
        request in messages::request(),
        reply in messages::reply(),
        at in any::<prop::sample::Index>(),
        flip in 1..=255u8,
    ) {
        for mut bytes in [request.encode(), reply.encode()] {
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            accepts_only_what_it_would_write(&bytes);
        }
    }

    #[test]
    fn a_shortened_message_is_refused(
        request in messages::request(),
        reply in messages::reply(),
        cut in any::<prop::sample::Index>(),
    ) {
        let (request, reply) = (
            Request { extension: Default::default(), ..request },
            Reply { extension: Default::default(), ..reply },
        );
        let bytes = request.encode();
        prop_assert!(Request::decode(&bytes[..cut.index(bytes.len())]).is_err());
        let bytes = reply.encode();
        prop_assert!(Reply::decode(&bytes[..cut.index(bytes.len())]).is_err());
    }

    #[test]
    fn an_envelope_gives_its_body_back_in_either_class(body in vec(any::<u8>(), 0..3_000)) {
        for class in [SizeClass::Small, SizeClass::Big] {
            let Some(contents) = envelope::wrap(&body, class) else {
                prop_assert!(class == SizeClass::Small && body.len() + 3 > SMALL_MAX_LEN);
                continue;
            };
            prop_assert_eq!(SizeClass::of(&contents), class);
            prop_assert_eq!(envelope::unwrap(&contents), Ok(&body[..]));
        }
    }

    #[test]
    fn an_address_reads_back_as_it_was_written(server in 1..200u8, relays in vec(1..200u8, 0..16)) {
        let node = |number| NodeId::from(messages::keypair(number).public_key());
        let address = Address::new(
            messages::server_key(server),
            node(server),
            relays.into_iter().map(node).collect(),
        );
        prop_assert_eq!(address.to_string().parse(), Ok(address.clone()));
        prop_assert_eq!(address.to_string().to_uppercase().parse(), Ok(address));
    }

    #[test]
    fn a_voucher_reads_back_as_it_was_written(
        key in any::<[u8; 32]>(),
        id in any::<[u8; 16]>(),
        tokens in any::<u64>(),
        expires in any::<u64>(),
    ) {
        let voucher = Voucher::new(&key, id, tokens, expires);
        prop_assert_eq!(Voucher::decode(&voucher.encode()), Ok(voucher.clone()));
        prop_assert_eq!(voucher.to_string().parse(), Ok(voucher.clone()));
        prop_assert!(voucher.genuine(&key));
    }

    #[test]
    fn text_that_is_no_voucher_is_refused_without_panic(text in "(larderv1)?\\PC{0,200}") {
        prop_assert!(text.parse::<Voucher>().is_err());
    }

    #[test]
    fn text_that_is_no_address_is_refused_without_panic(text in "(larder1)?\\PC{0,200}") {
        prop_assert!(text.parse::<Address>().is_err());
    }
}

#[test]
fn every_refusal_reads_back_as_it_was_written() {
    for refusal in messages::refusals() {
        let reply = Reply::bare(Err(refusal));
        assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
    }
}

#[test]
fn padding_reaches_its_class_and_no_further() {
    let big = |len| envelope::wrap(&vec![1; len], SizeClass::Big).map(|contents| contents.len());
    assert_eq!(big(0), Some(BIG_LEN));
    assert_eq!(big(BIG_LEN - 3), Some(BIG_LEN));
    assert_eq!(big(BIG_LEN - 2), Some(BIG_LEN + 1));
    assert_eq!(big(MAX_LEN - 3), Some(MAX_LEN));
    assert_eq!(big(MAX_LEN - 2), None);
    let small = |len| envelope::wrap(&vec![1; len], SizeClass::Small);
    assert!(small(SMALL_MAX_LEN - 3).is_some());
    assert!(small(SMALL_MAX_LEN - 2).is_none());
}

#[test]
fn an_envelope_refuses_other_versions_marks_in_the_padding_and_lengths_beyond_its_end() {
    let contents = envelope::wrap(b"body", SizeClass::Big).expect("fits");
    let with = |at: usize, byte| {
        let mut contents = contents.clone();
        contents[at] = byte;
        envelope::unwrap(&contents).map(<[u8]>::to_vec)
    };
    assert_eq!(with(0, 2), Err(DecodeError::UnsupportedVersion(2)));
    assert_eq!(with(BIG_LEN - 1, 1), Err(DecodeError::Padding));
    assert_eq!(with(7, 1), Err(DecodeError::Padding));
    assert_eq!(with(1, 0xff), Err(DecodeError::Truncated("the body")));
    assert_eq!(
        envelope::unwrap(&[]),
        Err(DecodeError::Truncated("the version"))
    );
}

#[test]
fn requests_refuse_unknown_ops_payments_that_are_none_and_points_off_the_curve() {
    let lookup = Call::Lookup(larder_protocol::lookup::Lookup {
        key: messages::key(5),
    });
    let bytes = Request::unpaid(Nonce([1; 32]), lookup).encode();
    let with = |at: usize, byte| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        Request::decode(&bytes)
    };
    for code in [10, 16, 255] {
        let what = "the op";
        assert_eq!(with(0, code), Err(DecodeError::UnknownCode { what, code }));
    }
    assert_eq!(
        with(33, 2),
        Err(DecodeError::UnknownCode {
            what: "the payment",
            code: 2
        })
    );
    assert!(
        matches!(with(36, 4), Err(DecodeError::Invalid(_))),
        "not a compressed point"
    );
    let mut off_curve = bytes.clone();
    off_curve[36..69].copy_from_slice(&[[2; 1].as_slice(), &[0xff; 32]].concat());
    assert!(matches!(
        Request::decode(&off_curve),
        Err(DecodeError::Invalid(_))
    ));
    assert!(Key::from_slice(&[0; 33]).is_err() && Key::from_slice(&[2; 32]).is_err());

    let mut unpaid_with_length = bytes.clone();
    unpaid_with_length.splice(35..36, [1, 0]);
    assert!(matches!(
        Request::decode(&unpaid_with_length),
        Err(DecodeError::Inconsistent(_))
    ));
    let paid = Request {
        payment: Payment::Credentials(vec![]),
        ..Request::decode(&bytes).expect("what it wrote")
    };
    assert_eq!(
        Request::decode(&paid.encode()),
        Ok(paid),
        "an empty payment is still a payment"
    );
}

#[test]
fn extensions_skip_unknown_odd_types_and_refuse_even_disordered_and_padded_ones() {
    let plain = Request::unpaid(Nonce([1; 32]), Call::Info).encode();
    let with = |stream: &[u8]| Request::decode(&[&plain, stream].concat());
    assert!(with(&[7, 1, 0xaa]).is_ok_and(|request| request.extension.hop_token.is_none()));
    assert!(
        with(&[101, 1, 0xaa]).is_ok_and(|request| request.extension.hop_token == Some(vec![0xaa]))
    );
    let refused = |stream: &[u8]| matches!(with(stream), Err(DecodeError::Extension(_)));
    let passes = |bytes: u8| [&[103, bytes], &vec![7; usize::from(bytes)][..]].concat();
    assert!(with(&passes(64)).is_ok_and(|request| request.extension.passes.is_some()));
    assert!(refused(&passes(63)) && refused(&passes(32)) && refused(&passes(0)));
    assert!(refused(&[8, 0]), "unknown even");
    assert!(refused(&[9, 0, 7, 0]), "descending");
    assert!(refused(&[7, 0, 7, 0]), "twice");
    assert!(refused(&[0xfd, 0, 7, 0]), "type not in its shortest form");
    assert!(
        refused(&[7, 0xfe, 0, 0, 0, 1, 0]),
        "length not in its shortest form"
    );
    assert_eq!(
        with(&[7, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        Err(DecodeError::Truncated("an extension")),
        "a length that no memory holds"
    );
}

/// Whether a quote with so many claims and a voucher of so many bytes is read.
fn reads_quote(claims: u8, voucher: usize) -> Result<Quote, DecodeError> {
    let tags: Vec<u8> = (0..claims).flat_map(|number| [number; 32]).collect();
    let head = Request::unpaid(Nonce([1; 32]), Call::Transfer).encode();
    let mut bytes = [&head[..], &[0; 8], &[claims], &tags].concat();
    bytes[0] = 8;
    bytes.extend_from_slice(&(voucher as u16).to_be_bytes());
    bytes.resize(bytes.len() + voucher, 7);
    match Request::decode(&bytes)?.call {
        Call::Quote(quote) => Ok(quote),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_quote_is_for_one_to_sixteen_claims_and_takes_a_voucher_of_64_bytes_at_most() {
    let refused = |quote| matches!(quote, Err(DecodeError::Inconsistent(_)));
    assert!(refused(reads_quote(0, 0)));
    assert!(refused(reads_quote(17, 0)));
    assert!(refused(reads_quote(1, 65)));
    let least = reads_quote(1, 0).expect("the least");
    assert_eq!(least.tags, [ClaimTag([0; 32])]);
    assert_eq!(least.voucher, None);
    let most = reads_quote(16, 64).expect("the most");
    assert_eq!(most.tags.len(), 16);
    assert_eq!(most.voucher, Some(vec![7; 64]));
}

#[test]
fn a_record_names_1_to_16_earlier_ones_in_order_or_says_that_it_names_none() {
    let earlier = |epoch: u32| Earlier {
        epoch,
        hash: RecordHash([7; 32]),
    };
    let decoded = |epochs: &[u32]| {
        let mut tariff = tariff_without_lists();
        tariff.earlier = epochs.iter().copied().map(earlier).collect();
        let mut named = record(0, None);
        (named.epoch, named.tariff) = (50, Some(tariff));
        SignedRecord::decode(&named.sign(&keypair(1)).encode())
    };
    let sixteen: Vec<u32> = (1..=16).collect();
    let seventeen: Vec<u32> = (1..=17).collect();
    for epochs in [&[][..], &[49], &[0, 7, 49], &sixteen] {
        assert!(decoded(epochs).is_ok(), "{epochs:?}");
    }
    for epochs in [&[50][..], &[51], &[7, 7], &[8, 7], &seventeen] {
        let refused = decoded(epochs);
        assert!(
            matches!(refused, Err(DecodeError::Inconsistent(_))),
            "{epochs:?}"
        );
    }
    // With none, and behind a length of none all the same.
    let without = decoded(&[]).expect("read above").encode();
    let mut with = without.clone();
    // The payment stands behind 1 + 3 x 33 + 2 x 4 bytes, and these behind the issuers' and a commitment.
    with[108] += 2;
    with.insert(108 + 1 + 1 + 32, 0);
    assert!(SignedRecord::decode(&with).is_err());
}

/// Of no issuers, refunds, or denominations.
fn tariff_without_lists() -> Tariff {
    Tariff {
        issuers: vec![],
        next_issuer: [0; 32],
        passes: None,
        earlier: vec![],
        prices: Prices {
            insert: 1,
            lookup: 1,
            delete: 1,
            breakglass: 1,
            transfer: 1,
        },
        refunds: vec![],
        denominations: vec![],
        breakglass_seconds: 1,
        next_takes: 1,
    }
}

#[test]
fn no_claim_is_opened_twice_by_one_quote() {
    let quote = |tags: [u8; 3]| {
        let quote = Quote {
            tokens: 1,
            tags: tags.map(|tag| ClaimTag([tag; 32])).into(),
            voucher: None,
        };
        Request::decode(&Request::unpaid(Nonce([1; 32]), Call::Quote(quote)).encode())
    };
    assert!(quote([3, 2, 1]).is_ok(), "in any order");
    for twice in [[1, 1, 2], [1, 2, 1], [2, 1, 1]] {
        assert!(matches!(quote(twice), Err(DecodeError::Inconsistent(_))));
    }
}

#[test]
fn a_payment_request_is_short_and_cannot_steer_a_terminal() {
    let with = |paid: u8, request: &[u8]| {
        let quoted = Quoted {
            paid: false,
            expires: 9,
            request: String::new(),
        };
        let mut bytes = Reply::bare(Ok(Done::Quoted(quoted))).encode();
        bytes[1] = paid;
        bytes.splice(10..12, (request.len() as u16).to_be_bytes());
        bytes.splice(12..12, request.iter().copied());
        Reply::decode(&bytes).map(|reply| reply.outcome)
    };
    let quoted = |paid, request: &str| {
        Ok(Ok(Done::Quoted(Quoted {
            paid,
            expires: 9,
            request: request.to_owned(),
        })))
    };
    assert_eq!(with(1, b""), quoted(true, ""));
    let longest = "~".repeat(4_096);
    assert_eq!(with(0, longest.as_bytes()), quoted(false, &longest));
    assert_eq!(
        with(2, b""),
        Err(DecodeError::UnknownCode {
            what: "whether it is paid",
            code: 2
        })
    );
    for request in ["\u{1b}[2J", "two words", "a\nb", "caf\u{e9}", "\u{7f}"] {
        let read = with(0, request.as_bytes());
        assert!(
            matches!(read, Err(DecodeError::Inconsistent(_))),
            "{request:?}"
        );
    }
    assert!(matches!(
        with(0, "~".repeat(4_097).as_bytes()),
        Err(DecodeError::Inconsistent(_))
    ));
}
