//! The statements against `sigma-proofs`' own instances, and the nonces of the proofs.

use curve25519_dalek::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use sigma_proofs::linear_relation::Equation;
use sigma_proofs::{Instance, NargCodec, PrivateRng, prove_compact, verify_compact};

use crate::credential::Credential;
use crate::generators::{GENERATORS, commit};
use crate::group::Point;
use crate::issuance::IssuanceContext;
use crate::operation::Status;
use crate::relation::Statement;
use crate::request::{Request, spend_tag};
use crate::statement::{self, Issued, signed};
use crate::test_scene::{Scene, issued, issuer, nonce_commitments, purchase, scene, settle, spend};
use crate::{Epoch, InFlight, OpCode, Spending};

const ONE: Scalar = Scalar::ONE;
const TAG: &[u8] = b"CMPT a tag of its own";

/// §4.3, written down once more: indices count from 2.
fn spend_instance(issuer: &crate::Issuer, request: &Request) -> Instance<RistrettoPoint> {
    let g = &*GENERATORS;
    let key = issuer.current_key();
    let I = key.parameters().I().point;
    let mut elements = vec![I];
    elements.extend([&g.Gx0, &g.Gx1, &g.Ga, &g.Gg, &g.Gh, &g.Gs].map(|g| g.at.point));
    let (i, gx0, gx1, ga, gg, gh, gs) = (2, 3, 4, 5, 6, 7, 8);
    let mut equations = Vec::new();
    for (n, shown) in request.head.presentations.unwrap().iter().enumerate() {
        let p = key.present(shown).unwrap();
        elements.extend([p.Ca, p.Cx0, p.Cx1, p.S, p.Z].map(|point| point.point));
        let at = 9 + 5 * n as u32;
        let (ca, cx0, cx1, s, z) = (at, at + 1, at + 2, at + 3, at + 4);
        let w = 5 * n as u32;
        let equation = |image, terms: &[(u32, u32)]| Equation {
            image: vec![(image, ONE)],
            terms: terms
                .iter()
                .map(|(scalar, base)| (*scalar, *base, ONE))
                .collect(),
        };
        equations.push(equation(z, &[(w, i)]));
        equations.push(equation(cx1, &[(w, gx1), (w + 1, gx0), (w + 2, cx0)]));
        equations.push(equation(ca, &[(w, ga), (w + 3, gg), (w + 4, gh)]));
        equations.push(equation(s, &[(w + 4, gs)]));
    }
    elements.extend(request.outputs().unwrap().map(|output| output.point));
    let cost = -signed(request.cost());
    equations.push(Equation {
        image: vec![(9, ONE), (14, ONE), (19, -ONE), (20, -ONE), (gg, cost)],
        terms: vec![(0, ga, ONE), (5, ga, ONE), (10, gh, ONE)],
    });
    Instance::new(elements, equations).unwrap()
}

fn purchase_instance(request: &Request) -> Instance<RistrettoPoint> {
    let g = &*GENERATORS;
    let mut elements = vec![g.Gg.at.point, g.Gh.at.point];
    elements.extend(request.outputs().unwrap().map(|output| output.point));
    let cost = -signed(request.cost());
    let balance = Equation {
        image: vec![(4, -ONE), (5, -ONE), (2, cost)],
        terms: vec![(0, 3, ONE)],
    };
    Instance::new(elements, vec![balance]).unwrap()
}

/// §5, written down once more.
fn issue_instance(issuer: &crate::Issuer, issued: &[Issued; 2]) -> Instance<RistrettoPoint> {
    let g = &*GENERATORS;
    let parameters = issuer.current_key().parameters();
    let Cw = Point::decode(&parameters.encode()[4..36].try_into().unwrap()).unwrap();
    let mut elements = vec![Cw.point, parameters.I().point];
    let fixed = [&g.Gw, &g.Gw_prime, &g.Gx0, &g.Gx1, &g.GV, &g.Ga];
    elements.extend(fixed.map(|g| g.at.point));
    for mac in issued {
        elements.extend([mac.M.point, mac.U.point, mac.V.point]);
    }
    let mac = |m: u32, t: Scalar| Equation {
        image: vec![(m + 2, ONE)],
        terms: vec![(0, 4, ONE), (2, m + 1, ONE), (3, m + 1, t), (4, m, ONE)],
    };
    let equations = vec![
        Equation {
            image: vec![(2, ONE)],
            terms: vec![(0, 4, ONE), (1, 5, ONE)],
        },
        Equation {
            image: vec![(8, ONE), (3, -ONE)],
            terms: vec![(2, 6, ONE), (3, 7, ONE), (4, 9, ONE)],
        },
        mac(10, issued[0].t),
        mac(13, issued[1].t),
    ];
    Instance::new(elements, equations).unwrap()
}

/// Both ways: what one side proves the other accepts, and both refuse the same forgeries.
fn agree(statement: &Statement<'_>, instance: &Instance<RistrettoPoint>, tag: &[u8], proof: &[u8]) {
    assert_eq!(statement.label(), instance.encode_instance().as_ref());
    assert!(statement.verify(tag, proof).is_ok());
    assert!(verify_compact(tag, instance, proof).is_ok());
    assert!(verify_compact(b"CMPT another tag", instance, proof).is_err());
    assert!(statement.verify(b"CMPT another tag", proof).is_err());
    for place in 0..proof.len() {
        let mut forged = proof.to_vec();
        forged[place] ^= 1 << (place % 8);
        assert!(statement.verify(tag, &forged).is_err());
        assert!(verify_compact(tag, instance, &forged).is_err());
    }
    for length in [0, 31, 32, proof.len() - 1] {
        assert!(statement.verify(tag, &proof[..length]).is_err());
    }
}

/// A proof by the library for the same statement passes here, given the witness.
fn accepts_the_library(
    statement: &Statement<'_>,
    instance: &Instance<RistrettoPoint>,
    witness: &[Scalar],
) {
    assert!(bool::from(instance.is_witness_valid(witness)));
    let theirs = prove_compact(TAG, instance, witness).unwrap();
    assert!(statement.verify(TAG, &theirs).is_ok());
    let seed = [9; 32];
    let ours = statement
        .prove(TAG, witness, &mut PrivateRng::from_seed(seed))
        .unwrap();
    assert!(verify_compact(TAG, instance, &ours).is_ok());
    // Equal nonces give equal bytes: the same protocol, not only a compatible one.
    let session = sigma_proofs::derive_session_id::<sigma_proofs::DefaultHash>(TAG);
    let theirs = sigma_proofs::prove_compact_with::<sigma_proofs::DefaultHash, _>(
        &session,
        instance,
        witness,
        &mut <PrivateRng>::from_seed(seed),
    );
    assert_eq!(theirs.unwrap(), ours);
    let short = &witness[1..];
    assert!(
        statement
            .prove(TAG, short, &mut PrivateRng::from_seed(seed))
            .is_err()
    );
}

fn bought(scene: &Scene) -> crate::Unspent {
    settle(scene, purchase(scene, 0, 100), 0).1
}

#[test]
fn a_spend_is_the_librarys_relation() {
    let scene = scene();
    let in_flight = spend(&scene, &bought(&scene), &Spending::transfer(10));
    let request = in_flight.request();
    let (statement, context) = scene.issuer().statement(request).unwrap();
    let tag = spend_tag(&context, &request.range_proof);
    agree(
        &statement,
        &spend_instance(scene.issuer(), request),
        &tag,
        &request.proof,
    );
}

#[test]
fn a_purchase_is_the_librarys_relation() {
    let scene = scene();
    let in_flight = purchase(&scene, 0, 100);
    let request = in_flight.request();
    let (statement, context) = scene.issuer().statement(request).unwrap();
    let tag = spend_tag(&context, &request.range_proof);
    let instance = purchase_instance(request);
    agree(&statement, &instance, &tag, &request.proof);
    let blindings = crate::test_scene::root().blindings(request.references(), &[100, 0]);
    accepts_the_library(&statement, &instance, &[-(blindings[0] + blindings[1])]);
}

#[test]
fn an_issuance_is_the_librarys_relation() {
    let scene = scene();
    let in_flight = spend(&scene, &bought(&scene), &Spending::transfer(10));
    let request = in_flight.request();
    let key = scene.issuer().current_key();
    let issuance = scene.issuer().issue(request, Status::DONE, 3).unwrap();
    let issued = issued(request.outputs().unwrap(), &issuance);
    let parameters = key.parameters();
    let statement = statement::issue(parameters.issue(), issued);
    let context = IssuanceContext::of(request, Status::DONE);
    let instance = issue_instance(scene.issuer(), &issued);
    agree(
        &statement,
        &instance,
        &context.tag(parameters, 3),
        &issuance.proof,
    );
    accepts_the_library(&statement, &instance, &key.witness());
}

#[test]
fn two_operations_on_one_pair_share_no_nonce() {
    let scene = scene();
    let pair = bought(&scene);
    let work = OpCode::of_service(16).unwrap();
    let next = issuer(Epoch(6));
    let variants = [
        Spending::transfer(10),
        Spending::transfer(11),
        Spending::transfer(10).into_outputs([50, 40]),
        Spending::transfer(10).with_entropy(&[1; 32]),
        Spending::on(work, b"", 10),
        Spending::on(work, b"x", 10),
    ];
    let mut requests: Vec<Request> = variants
        .iter()
        .map(|spending| spend(&scene, &pair, spending).request().clone())
        .collect();
    let late = crate::Unspent::decode(&*pair.encode()).unwrap();
    let late = late.spend(
        &crate::test_scene::root(),
        next.record(),
        &Spending::transfer(10),
    );
    requests.push(late.unwrap().request().clone());
    let mut seen: Vec<[u8; 32]> = Vec::new();
    for (place, request) in requests.iter().enumerate() {
        let issuer = if place == 6 { &next } else { scene.issuer() };
        let (statement, _) = issuer.statement(request).unwrap();
        let mut fields = nonce_commitments(&statement, &request.proof);
        assert_eq!(fields.len(), 9);
        // z shows in Ca, Cx0, Cx1 and CV; A, A1 and B carry the range proof's blinding.
        for p in request.head.presentations.unwrap() {
            fields.extend([p.Ca, p.Cx0, p.Cx1, p.CV]);
        }
        let (_, range_proof) = request.range_proof.split_first_chunk::<1>().unwrap();
        fields.extend(&range_proof.as_chunks::<32>().0[1..4]);
        for field in fields {
            assert!(
                !seen.contains(&field),
                "a value occurs twice, again in variant {place}"
            );
            seen.push(field);
        }
    }
}

#[test]
fn two_purchases_on_one_claim_share_no_nonce() {
    let (scene, root) = (scene(), crate::test_scene::root());
    let next = issuer(Epoch(6));
    let claim = root.claim_secret(0);
    let variants = [
        (scene.issuer(), 100, None),
        (scene.issuer(), 101, None),
        (scene.issuer(), 100, Some([60, 40])),
        (&next, 100, None),
    ];
    let mut seen: Vec<[u8; 32]> = Vec::new();
    for (place, (issuer, amount, outputs)) in variants.into_iter().enumerate() {
        let in_flight = InFlight::purchase(&root, issuer.record(), &claim, amount, outputs);
        let in_flight = in_flight.unwrap();
        let request = in_flight.request();
        let (statement, _) = issuer.statement(request).unwrap();
        let mut fields = nonce_commitments(&statement, &request.proof);
        assert_eq!(fields.len(), 1);
        fields.extend(&request.range_proof[1..].as_chunks::<32>().0[1..4]);
        for field in fields {
            assert!(!seen.contains(&field), "again in variant {place}");
            seen.push(field);
        }
    }
}

#[test]
fn same_inputs_give_the_same_bytes() {
    let (one, two) = (scene(), scene());
    let (a, b) = (bought(&one), bought(&two));
    assert_eq!(*a.encode(), *b.encode());
    let spending = Spending::on(OpCode::of_service(16).unwrap(), b"parameters", 10);
    let (a, b) = (spend(&one, &a, &spending), spend(&two, &b, &spending));
    assert_eq!(a.core(), b.core());
    let ((reply_a, a), (reply_b, b)) = (settle(&one, a, 4), settle(&two, b, 4));
    assert_eq!(reply_a, reply_b);
    assert_eq!(*a.encode(), *b.encode());
}

#[test]
fn outputs_depend_on_what_is_consumed_and_on_the_split_and_on_nothing_else() {
    let scene = scene();
    let pair = bought(&scene);
    let work = Spending::on(OpCode::of_service(16).unwrap(), b"", 10);
    let [one, two] = [Spending::transfer(10), work].map(|s| spend(&scene, &pair, &s));
    assert_eq!(one.request().head.outputs, two.request().head.outputs);
    assert_ne!(one.core(), two.core());
}

#[test]
fn two_requests_on_one_pair_do_not_tell_how_their_amounts_differ() {
    let scene = scene();
    let pair = bought(&scene);
    let splits = [[90, 0], [0, 90], [89, 1], [45, 45]];
    let requests = splits.map(|split| {
        let spending = Spending::transfer(10).into_outputs(split);
        let in_flight = spend(&scene, &pair, &spending);
        (in_flight.request().clone(), split)
    });
    // One pair, another price: the second output holds nothing both times.
    let dearer = spend(&scene, &pair, &Spending::transfer(11));
    let requests = [&requests[..], &[(dearer.request().clone(), [89, 0])]].concat();

    let mut blindings: Vec<Scalar> = Vec::new();
    for (request, split) in &requests {
        for blinding in *crate::test_scene::root().blindings(request.references(), split) {
            assert!(!blindings.contains(&blinding), "a blinding occurs twice");
            blindings.push(blinding);
        }
    }

    // Every difference that the hundred tokens of the pair allow.
    let Gg = GENERATORS.Gg.at.point;
    let small: Vec<_> = (0..=100_u64)
        .flat_map(|d| [Gg * Scalar::from(d), -Gg * Scalar::from(d)])
        .collect();
    let outputs: Vec<Point> = requests
        .iter()
        .flat_map(|(request, _)| request.outputs().unwrap())
        .collect();
    for (place, one) in outputs.iter().enumerate() {
        for other in &outputs[..place] {
            assert!(!small.contains(&(one.point - other.point)));
        }
    }
}

/// Why MAC nonces must differ (see `issuance_tests.rs`): two MACs under one `t` give a third, on
/// any amount.
#[test]
fn two_macs_under_one_nonce_would_forge() {
    let issuer = issuer(Epoch(5));
    let key = issuer.current_key();
    let t = Scalar::from(77_u64);
    let (r_1, r_2) = (Scalar::from(5_u64), Scalar::from(6_u64));
    let mac = |M: RistrettoPoint| key.naive_mac(&t, &M);
    let V_1 = mac(commit(10, &r_1));
    let V_2 = mac(commit(9, &r_2));
    // M = M_1 + 1000·(M_1 - M_2) commits to 10 + 1000 tokens.
    let factor = Scalar::from(1_000_u64);
    let V = V_1 + factor * (V_1 - V_2);
    let r = r_1 + factor * (r_1 - r_2);
    assert_eq!(V, mac(commit(1_010, &r)));
    let forged = Credential::new(Epoch(5), 1_010, r, t, Point::from(V).encoding);
    assert_eq!(forged.amount(), 1_010);
}
