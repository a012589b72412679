//! The decoders that no caller reaches by themselves: any bytes, and genuine ones changed.

use std::sync::LazyLock;

use curve25519_dalek::scalar::Scalar;
use proptest::prelude::*;
use sigma_proofs::NargCodec;
use sigma_proofs::codec::ScalarCodec;
use spongefish::NargReader;
use tari_bulletproofs_plus::ristretto::RistrettoRangeProof;

use crate::bytes::Reader;
use crate::error::Malformed;
use crate::group::{Point, decode_scalar};
use crate::issuance::ISSUANCE_BYTES;
use crate::operation::References;
use crate::range_verifier::RangeProof;
use crate::relation::Statement;
use crate::service::RangeWidth::{Bits32, Bits64};
use crate::test_scene::{SERVICE, Scene, purchase, root, scene, scene_of, settle, spend};
use crate::{Issuance, OpCode, Request, Service, Spending, memo};

struct Samples {
    scene: Scene,
    request: Request,
    /// In the order of the decoders below.
    bytes: [Vec<u8>; 7],
}

static SAMPLES: LazyLock<Samples> = LazyLock::new(|| {
    let scene = scene();
    let (_, pair) = settle(&scene, purchase(&scene, 0, 100), 0);
    let in_flight = spend(&scene, &pair, &Spending::transfer(10));
    let request = in_flight.request().clone();
    let (reply, _) = settle(&scene, in_flight, 0);
    let wide = scene_of(Service::wide(*SERVICE.id()));
    let wide = purchase(&wide, 0, 100).request().clone();
    let bytes = [
        request.head.outputs[0].to_vec(),
        pair.credentials()[0].t().to_bytes().to_vec(),
        request.range_proof.clone(),
        wide.range_proof,
        request.proof.clone(),
        reply.encode()[2..].to_vec(),
        request.references().encode().to_vec(),
    ];
    Samples {
        scene,
        request,
        bytes,
    }
});

fn whole<T>(
    bytes: &[u8],
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, Malformed>,
) -> Result<T, Malformed> {
    let mut reader = Reader::new(bytes);
    let value = read(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// What each of them owes on any bytes: an error, or a value of which these are the encoding.
/// Returns which of them took the bytes.
fn decode_all(bytes: &[u8]) -> [bool; 7] {
    let point = bytes.try_into().ok().and_then(|b| Point::decode(b).ok());
    if let Some(point) = point {
        assert_eq!(point.point.compress().as_bytes(), bytes);
    }
    let scalar = bytes.try_into().ok().and_then(|b| decode_scalar(b).ok());
    if let Some(scalar) = scalar {
        assert_eq!(scalar.as_bytes(), bytes);
    }
    // What passes as a range proof passes for one at the library too, which encodes it so.
    let ranges = [Bits32, Bits64].map(|width| RangeProof::decode(width, bytes).is_ok());
    if ranges.contains(&true) {
        let theirs = RistrettoRangeProof::from_bytes(bytes).unwrap();
        assert_eq!(theirs.to_bytes(), bytes);
    }
    let (statement, _) = SAMPLES.scene.issuer().statement(&SAMPLES.request).unwrap();
    let proof = takes_proof(&statement, bytes);
    assert_eq!(proof, canonical_scalars(bytes, 12));
    let verifies = statement.verify(b"CMPT another tag", bytes);
    assert!(verifies.is_err());
    let issuance = whole(bytes, Issuance::read);
    if let Ok(issuance) = &issuance {
        assert_eq!(issuance.encode().as_slice(), bytes);
    }
    let references = whole(bytes, References::read);
    if let Ok(references) = &references {
        assert_eq!(references.encode().as_slice(), bytes);
    }
    [
        point.is_some(),
        scalar.is_some(),
        ranges[0],
        ranges[1],
        proof,
        issuance.is_ok(),
        references.is_ok(),
    ]
}

/// Whether these are a challenge and responses to the library.
fn takes_proof(statement: &Statement<'_>, bytes: &[u8]) -> bool {
    let mut reader = NargReader::new(bytes);
    let challenge = Scalar::deserialize_scalar(&mut reader);
    challenge.is_ok() && statement.deserialize_response(&mut reader).is_ok() && reader.is_empty()
}

/// So many big-endian numbers below the order.
fn canonical_scalars(bytes: &[u8], count: usize) -> bool {
    let (chunks, rest) = bytes.as_chunks::<32>();
    let canonical = |chunk: &[u8; 32]| {
        let mut chunk = *chunk;
        chunk.reverse();
        bool::from(Scalar::from_canonical_bytes(chunk).is_some())
    };
    rest.is_empty() && chunks.len() == count && chunks.iter().all(canonical)
}

#[test]
fn each_decoder_takes_its_own_sample_whole_and_no_other_length() {
    for (place, sample) in SAMPLES.bytes.iter().enumerate() {
        assert!(decode_all(sample)[place], "sample {place}");
        for length in [0, 1, sample.len() / 2, sample.len() - 1] {
            assert!(!decode_all(&sample[..length])[place], "sample {place}");
        }
        assert!(!decode_all(&[sample.as_slice(), &[0]].concat())[place]);
    }
    assert_eq!(SAMPLES.bytes[5].len(), ISSUANCE_BYTES);
}

#[test]
fn an_operation_code_is_one_of_the_known_ones_or_a_services() {
    for code in 0..=u8::MAX {
        let known = matches!(code, 1..=3 | 16..);
        let decoded = OpCode::decode(code).ok().map(OpCode::code);
        assert_eq!(decoded, known.then_some(code));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_are_decoded_or_refused(
        sample in 0..7_usize,
        bytes in prop::collection::vec(any::<u8>(), 700),
    ) {
        decode_all(&bytes[..SAMPLES.bytes[sample].len()]);
    }

    #[test]
    fn mutated_bytes_are_decoded_or_refused(
        sample in 0..7_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut mutated = SAMPLES.bytes[sample].clone();
        for (place, byte) in changes {
            let place = place.index(mutated.len());
            mutated[place] = byte;
        }
        decode_all(&mutated);
    }

    #[test]
    fn only_the_genuine_memo_opens(
        arbitrary in prop::array::uniform32(any::<u8>()),
        changes in prop::collection::vec((0..44_usize, any::<u8>()), 1..6),
    ) {
        let (references, genuine) = (SAMPLES.request.references(), SAMPLES.request.head.memo);
        let mut mutated = genuine;
        for (place, byte) in changes {
            mutated[place] = byte;
        }
        let opens = memo::open(&root(), references, &mutated).is_some();
        prop_assert_eq!(opens, mutated == genuine);
        mutated[..32].copy_from_slice(&arbitrary);
        prop_assert!(memo::open(&root(), references, &mutated).is_none());
    }
}
