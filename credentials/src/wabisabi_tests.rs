//! The algebra on secp256k1, against what is published of the original WabiSabi (§12).
//!
//! `vectors/wabisabi.json` holds the numbers and says where each is from. Published, and
//! checked here: the nine generators and other points made from text; which parameters two
//! keys have; requests for two zero amounts with their proofs. A proof that verifies confirms
//! the transcript of Appendix A at once: STROBE, framing, the order of messages, one challenge.
//!
//! Not published anywhere we looked, as numbers for known inputs: `U` for a `t`, the `V` of a
//! MAC, a presentation with its `Z`, and proofs that contain them. The requests with
//! presentations that are published cannot be verified by anybody but the issuer of that round:
//! `Z` is part of their statement. These are checked in the original's own conventions here:
//! its rows, its transcript, its order of statements, on the published generators. The
//! original's range proof and binary layout have no counterpart in this crate and are left out.

use group::GroupEncoding;
use group::ff::PrimeField;
use k256::elliptic_curve::hazmat::FieldArithmetic;
use k256::elliptic_curve::point::AffineCoordinates;
use k256::{AffinePoint, ProjectivePoint, Scalar, Secp256k1};
use serde_json::Value;
use sha2::{Digest, Sha256};

use self::transcript::Transcript;
use crate::algebra_tests::{Algebra, Held, Presented, times};

mod transcript;

const FILE: &str = include_str!("../vectors/wabisabi.json");
const NAMES: [&str; 9] = ["Gw", "Gwp", "Gx0", "Gx1", "GV", "Ga", "Gg", "Gh", "Gs"];
/// Stands where a row has no generator.
const NONE: ProjectivePoint = ProjectivePoint::IDENTITY;

type FieldElement = <Secp256k1 as FieldArithmetic>::FieldElement;

fn published() -> Value {
    serde_json::from_str(FILE).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn point(value: &Value) -> ProjectivePoint {
    let encoding = bytes(value).as_slice().try_into().unwrap();
    ProjectivePoint::from_bytes(&encoding).unwrap()
}

fn scalar(value: &Value) -> Scalar {
    let bytes: [u8; 32] = bytes(value).try_into().unwrap();
    Scalar::from_repr(bytes.into()).unwrap()
}

fn points(value: &Value) -> Vec<ProjectivePoint> {
    value.as_array().unwrap().iter().map(point).collect()
}

/// SHA-256 again and again, until the digest is the x of a point; of the two roots y the one
/// that is a square itself.
fn from_bytes(start: &[u8]) -> ProjectivePoint {
    let mut digest = Sha256::digest(start);
    loop {
        let encoding = [[2].as_slice(), &digest].concat();
        let encoding = encoding.as_slice().try_into().unwrap();
        if let Some(even) = Option::<AffinePoint>::from(AffinePoint::from_bytes(&encoding)) {
            let y = FieldElement::from_bytes(&even.y()).unwrap();
            let square = bool::from(y.sqrt().is_some());
            return if square {
                even.into()
            } else {
                -ProjectivePoint::from(even)
            };
        }
        digest = Sha256::digest(digest);
    }
}

fn U(t: &Scalar) -> ProjectivePoint {
    from_bytes(&t.to_bytes())
}

fn algebra(key: [u64; 5]) -> Algebra<ProjectivePoint> {
    Algebra {
        generators: NAMES.map(|name| from_bytes(name.as_bytes())),
        key: key.map(Scalar::from),
    }
}

/// Rows of a public point and one generator for each number of the witness.
struct Statement(Vec<(ProjectivePoint, Vec<ProjectivePoint>)>);

#[derive(Clone)]
struct Proof {
    nonces: Vec<ProjectivePoint>,
    responses: Vec<Scalar>,
}

fn sum(scalars: &[Scalar], row: &[ProjectivePoint]) -> ProjectivePoint {
    assert_eq!(scalars.len(), row.len());
    scalars.iter().zip(row).map(|(s, g)| times(s, *g)).sum()
}

/// All statements, all nonces, and then one challenge.
fn challenge<'a>(
    transcript: &mut Transcript,
    statements: &[Statement],
    nonces: impl Iterator<Item = &'a [ProjectivePoint]>,
) -> Scalar {
    for Statement(rows) in statements {
        let public = rows.iter().map(|(public, _)| public);
        transcript.points(
            b"statement",
            public.chain(rows.iter().flat_map(|row| &row.1)),
        );
    }
    for nonces in nonces {
        transcript.points(b"nonce-commitment", nonces);
    }
    transcript.challenge()
}

fn verify(transcript: &mut Transcript, statements: &[Statement], proofs: &[Proof]) -> bool {
    let nonces = proofs.iter().map(|proof| proof.nonces.as_slice());
    let challenge = challenge(transcript, statements, nonces);
    assert_eq!(statements.len(), proofs.len());
    statements
        .iter()
        .zip(proofs)
        .all(|(Statement(rows), proof)| {
            assert_eq!(rows.len(), proof.nonces.len());
            rows.iter()
                .zip(&proof.nonces)
                .all(|((public, row), nonce)| {
                    sum(&proof.responses, row) == *nonce + times(&challenge, *public)
                })
        })
}

/// The nonces come from a fixed sequence: no example for a real prover.
fn prove(
    transcript: &mut Transcript,
    statements: &[Statement],
    witnesses: &[Vec<Scalar>],
) -> Vec<Proof> {
    let mut last = Scalar::from(2_u64);
    let mut nonce = || {
        last = last.square() + Scalar::ONE;
        last
    };
    let secret = witnesses
        .iter()
        .map(|w| w.iter().map(|_| nonce()).collect::<Vec<_>>());
    let secret: Vec<_> = secret.collect();
    let public = statements.iter().zip(&secret);
    let public = public.map(|(Statement(rows), k)| rows.iter().map(|row| sum(k, &row.1)).collect());
    let public: Vec<Vec<_>> = public.collect();
    let challenge = challenge(transcript, statements, public.iter().map(Vec::as_slice));
    let proofs = public.into_iter().zip(secret).zip(witnesses);
    proofs
        .map(|((nonces, secret), witness)| Proof {
            nonces,
            responses: secret
                .iter()
                .zip(witness)
                .map(|(k, w)| k + challenge * w)
                .collect(),
        })
        .collect()
}

impl Algebra<ProjectivePoint> {
    /// Witness `(w, w', x0, x1, ya)`.
    fn issue_statement(&self, t: &Scalar, V: ProjectivePoint, M: ProjectivePoint) -> Statement {
        let [Gw, Gw_prime, Gx0, Gx1, GV, Ga, ..] = self.generators;
        let (Cw, I) = self.parameters();
        Statement(vec![
            (V, vec![Gw, NONE, U(t), times(t, U(t)), M]),
            (GV - I, vec![NONE, NONE, Gx0, Gx1, Ga]),
            (Cw, vec![Gw, Gw_prime, NONE, NONE, NONE]),
        ])
    }

    /// Witness `(z, z0, t, a, r)`.
    fn show_statement(&self, shown: &Presented<ProjectivePoint>) -> Statement {
        let [_, _, Gx0, Gx1, _, Ga, Gg, Gh, Gs] = self.generators;
        let (_, I) = self.parameters();
        Statement(vec![
            (self.Z(shown), vec![I, NONE, NONE, NONE, NONE]),
            (shown.Cx1, vec![Gx1, Gx0, shown.Cx0, NONE, NONE]),
            (shown.Ca, vec![Ga, NONE, NONE, Gg, Gh]),
            (shown.S, vec![NONE, NONE, NONE, NONE, Gs]),
        ])
    }

    /// Witness `(Σz, Δr)`; what is added to the balance is what a request takes out less what
    /// it puts in, so `delta` is our cost with the opposite sign.
    fn balance_statement(
        &self,
        delta: i64,
        shown: &[Presented<ProjectivePoint>],
        requested: &[ProjectivePoint],
    ) -> Statement {
        let [.., Ga, Gg, Gh, _] = self.generators;
        let tokens = times(&Scalar::from(delta.unsigned_abs()), Gg);
        let tokens = if delta < 0 { -tokens } else { tokens };
        let presented: ProjectivePoint = shown.iter().map(|shown| shown.Ca).sum();
        let requested: ProjectivePoint = requested.iter().sum();
        Statement(vec![(tokens + presented - requested, vec![Ga, Gh])])
    }
}

#[test]
fn generators_and_other_texts_are_the_published_points() {
    let published = published();
    for part in ["from_text", "generators"] {
        for (text, expected) in published[part]["points"].as_object().unwrap() {
            assert_eq!(from_bytes(text.as_bytes()), point(expected), "{text:?}");
        }
    }
    let generators = &published["generators"]["points"];
    assert_eq!(generators.as_object().unwrap().len(), NAMES.len());
    assert!(NAMES.iter().all(|name| generators.get(name).is_some()));
}

/// From WalletWasabi/WalletWasabi, WalletWasabi.Tests/UnitTests/Crypto/CredentialIssuerKeyTests.cs.
#[test]
fn two_keys_have_the_published_parameters() {
    let [Gw, Gw_prime, Gx0, Gx1, GV, Ga, ..] = algebra([0; 5]).generators;
    let (_, I) = algebra([1, 1, 0, 0, 0]).parameters();
    assert_eq!(I, GV);
    let parameters = algebra([1; 5]).parameters();
    assert_eq!(parameters, (Gw + Gw_prime, GV - Gx0 - Gx1 - Ga));
}

#[test]
fn the_identities_hold_on_the_published_generators() {
    let key = [11, 12, 13, 14, 15].map(|n: u64| n << 40);
    algebra(key).check_identities(Scalar::from, U);
}

#[test]
fn published_proofs_of_zero_amounts_verify() {
    let published = published();
    let Gh = point(&published["generators"]["points"]["Gh"]);
    let requests = published["zero_requests"].as_array().unwrap();
    assert_eq!(requests.len(), 3);
    for request in requests {
        let zero = |M: &ProjectivePoint| Statement(vec![(*M, vec![Gh])]);
        let attributes = points(&request["attributes"]);
        let statements: Vec<_> = attributes.iter().map(zero).collect();
        let responses = request["responses"].as_array().unwrap().iter();
        let proofs: Vec<_> = points(&request["nonces"])
            .into_iter()
            .zip(responses)
            .map(|(nonce, response)| Proof {
                nonces: vec![nonce],
                responses: vec![scalar(response)],
            })
            .collect();
        assert_eq!(proofs.len(), 2);
        let null = Transcript::registration("True");
        assert!(verify(&mut null.clone(), &statements, &proofs));

        // Not as another request, not with one proof of the other's, not for one token.
        let other = &mut Transcript::registration("False");
        assert!(!verify(other, &statements, &proofs));
        let twice = [proofs[0].clone(), proofs[0].clone()];
        assert!(!verify(&mut null.clone(), &statements, &twice));
        let Gg = from_bytes(b"Gg");
        let token: Vec<_> = attributes.iter().map(|M| zero(&(M + &Gg))).collect();
        assert!(!verify(&mut null.clone(), &token, &proofs));
    }
}

#[test]
fn a_pair_is_presented_balanced_and_replaced_by_the_originals_rows() {
    // The key and the first attribute are those of WalletWasabi/NWabiSabi, c/tests/test_compat.c,
    // which publishes no result for them.
    let algebra = algebra([1, 2, 3, 4, 5]);
    let held = [(100, 7, 42), (20, 8, 43_u64)].map(|(a, r, t)| {
        let [a, r, t] = [a, r, t].map(Scalar::from);
        let V = algebra.mac(&t, U(&t), algebra.attribute(&a, &r));
        Held {
            a,
            r,
            t,
            U: U(&t),
            V,
        }
    });
    let zs = [1_001_u64, 1_002].map(Scalar::from);
    let shown = [0, 1].map(|i| algebra.present(&held[i], &zs[i]));
    let outputs = [(110, 71), (0, 72_u64)].map(|(v, r)| (Scalar::from(v as u64), Scalar::from(r)));
    let requested = outputs.map(|(v, r)| algebra.attribute(&v, &r));
    // Ten tokens are paid.
    let statements = |delta| {
        let mut statements: Vec<_> = shown.iter().map(|s| algebra.show_statement(s)).collect();
        statements.push(algebra.balance_statement(delta, &shown, &requested));
        statements
    };
    let mut witnesses: Vec<_> = held
        .iter()
        .zip(zs)
        .map(|(held, z)| vec![z, -(held.t * z), held.t, held.a, held.r])
        .collect();
    let dr = held[0].r + held[1].r - outputs[0].1 - outputs[1].1;
    witnesses.push(vec![zs[0] + zs[1], dr]);

    let start = Transcript::registration("False");
    let proofs = prove(&mut start.clone(), &statements(-10), &witnesses);
    let mut transcript = start.clone();
    assert!(verify(&mut transcript, &statements(-10), &proofs));
    for delta in [-11, -9, 10] {
        assert!(!verify(&mut start.clone(), &statements(delta), &proofs));
        // Nor can one prove it.
        let proofs = prove(&mut start.clone(), &statements(delta), &witnesses);
        assert!(!verify(&mut start.clone(), &statements(delta), &proofs));
    }
    let numbers = (0..5).flat_map(|j| [(0, j), (1, j)]);
    for (i, j) in numbers.chain([(2, 0), (2, 1)]) {
        let mut wrong = witnesses.clone();
        wrong[i][j] += Scalar::ONE;
        let proofs = prove(&mut start.clone(), &statements(-10), &wrong);
        assert!(!verify(&mut start.clone(), &statements(-10), &proofs));
    }

    // The issuer's proofs continue the transcript of the request.
    let issued: Vec<_> = [44_u64, 45]
        .map(Scalar::from)
        .into_iter()
        .zip(requested)
        .map(|(t, M)| algebra.issue_statement(&t, algebra.mac(&t, U(&t), M), M))
        .collect();
    let key = vec![algebra.key.to_vec(); 2];
    let proofs = prove(&mut transcript.clone(), &issued, &key);
    assert!(verify(&mut transcript.clone(), &issued, &proofs));
    assert!(!verify(&mut start.clone(), &issued, &proofs));
    for scalar in 0..5 {
        let mut second = key.clone();
        second[0][scalar] += Scalar::ONE;
        let proofs = prove(&mut transcript.clone(), &issued, &second);
        assert!(!verify(&mut transcript.clone(), &issued, &proofs));
    }
}
