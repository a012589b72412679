//! The algebra once more, slow and plainly right: points are only ever added.
//!
//! [`Algebra`] is written over any group. On ristretto255 it has to agree with what the
//! crate computes with tables and interleaved multiplications; `wabisabi_tests.rs` puts it
//! on secp256k1, the group of the original WabiSabi, against published values.

use curve25519_dalek::RistrettoPoint;
use group::Group;
use group::ff::PrimeField;

use crate::generators::GENERATORS;
use crate::group::Point;
use crate::test_scene::{purchase, scene, settle, spend};
use crate::{Spending, Status};

/// `k·P`, bit by bit, from the least significant one.
pub(crate) fn times<G: Group>(scalar: &G::Scalar, point: G) -> G {
    let mut bytes = scalar.to_repr().as_ref().to_vec();
    // Both byte orders occur; the representation of one tells which.
    if <G::Scalar as group::ff::Field>::ONE.to_repr().as_ref()[0] == 0 {
        bytes.reverse();
    }
    let (mut sum, mut power) = (G::identity(), point);
    for byte in bytes {
        for bit in 0..8 {
            if byte >> bit & 1 == 1 {
                sum += power;
            }
            power = power + power;
        }
    }
    sum
}

/// Generators, in the order `Gw Gw' Gx0 Gx1 GV Ga Gg Gh Gs`.
pub(crate) struct Algebra<G: Group> {
    pub(crate) generators: [G; 9],
    /// `w w' x0 x1 ya`
    pub(crate) key: [G::Scalar; 5],
}

pub(crate) struct Held<G: Group> {
    pub(crate) a: G::Scalar,
    pub(crate) r: G::Scalar,
    pub(crate) t: G::Scalar,
    pub(crate) U: G,
    pub(crate) V: G,
}

pub(crate) struct Presented<G> {
    pub(crate) Ca: G,
    pub(crate) Cx0: G,
    pub(crate) Cx1: G,
    pub(crate) CV: G,
    pub(crate) S: G,
}

impl<G: Group> Algebra<G> {
    pub(crate) fn parameters(&self) -> (G, G) {
        let [Gw, Gw_prime, Gx0, Gx1, GV, Ga, ..] = self.generators;
        let [w, w_prime, x0, x1, ya] = &self.key;
        let Cw = times(w, Gw) + times(w_prime, Gw_prime);
        (Cw, GV - times(x0, Gx0) - times(x1, Gx1) - times(ya, Ga))
    }

    pub(crate) fn attribute(&self, a: &G::Scalar, r: &G::Scalar) -> G {
        let [.., Gg, Gh, _] = self.generators;
        times(a, Gg) + times(r, Gh)
    }

    pub(crate) fn mac(&self, t: &G::Scalar, U: G, M: G) -> G {
        let [w, _, x0, x1, ya] = &self.key;
        times(w, self.generators[0]) + times(x0, U) + times(x1, times(t, U)) + times(ya, M)
    }

    pub(crate) fn serial(&self, r: &G::Scalar) -> G {
        times(r, self.generators[8])
    }

    pub(crate) fn present(&self, held: &Held<G>, z: &G::Scalar) -> Presented<G> {
        let [_, _, Gx0, Gx1, GV, Ga, ..] = self.generators;
        Presented {
            Ca: times(z, Ga) + self.attribute(&held.a, &held.r),
            Cx0: times(z, Gx0) + held.U,
            Cx1: times(z, Gx1) + times(&held.t, held.U),
            CV: times(z, GV) + held.V,
            S: self.serial(&held.r),
        }
    }

    pub(crate) fn Z(&self, shown: &Presented<G>) -> G {
        let [w, _, x0, x1, ya] = &self.key;
        let mac = times(w, self.generators[0])
            + times(x0, shown.Cx0)
            + times(x1, shown.Cx1)
            + times(ya, shown.Ca);
        shown.CV - mac
    }

    /// Two credentials are presented, two are received; every equation of §4.3 holds, and
    /// the balance does for the true cost only.
    pub(crate) fn check_identities(
        &self,
        scalar: impl Fn(u64) -> G::Scalar,
        U: impl Fn(&G::Scalar) -> G,
    ) {
        let [_, _, Gx0, Gx1, _, Ga, Gg, Gh, Gs] = self.generators;
        let (_, I) = self.parameters();
        let held = [(70, 1_u64), (30, 2)].map(|(amount, n)| {
            let (a, r) = (scalar(amount), scalar(1_000 + n));
            let t = scalar(2_000 + n);
            let U = U(&t);
            let V = self.mac(&t, U, self.attribute(&a, &r));
            Held { a, r, t, U, V }
        });
        let zs = [scalar(3_001), scalar(3_002)];
        let shown = [0, 1].map(|i| self.present(&held[i], &zs[i]));
        for ((held, shown), z) in held.iter().zip(&shown).zip(&zs) {
            let z0 = -(held.t * z);
            assert_eq!(self.Z(shown), times(z, I));
            let Cx1 = times(z, Gx1) + times(&z0, Gx0) + times(&held.t, shown.Cx0);
            assert_eq!(shown.Cx1, Cx1);
            let Ca = times(z, Ga) + times(&held.a, Gg) + times(&held.r, Gh);
            assert_eq!(shown.Ca, Ca);
            assert_eq!(shown.S, times(&held.r, Gs));
        }
        let outputs = [(85, 4_001), (5, 4_002)].map(|(v, r)| (scalar(v), scalar(r)));
        let dr = held[0].r + held[1].r - outputs[0].1 - outputs[1].1;
        let balance = |cost: u64| {
            let mut left = shown[0].Ca + shown[1].Ca - times(&scalar(cost), Gg);
            for (v, r) in &outputs {
                left -= self.attribute(v, r);
            }
            left == times(&(zs[0] + zs[1]), Ga) + times(&dr, Gh)
        };
        assert!(balance(10));
        assert!(!balance(9) && !balance(11));
        // A wrong MAC leaves Z off the line through I for the z that was used.
        let [first, _] = shown;
        let wrong = Presented {
            CV: first.CV + Gg,
            ..first
        };
        assert_ne!(self.Z(&wrong), times(&zs[0], I));
    }
}

fn ours(key: &crate::IssuerKey) -> Algebra<RistrettoPoint> {
    let g = &*GENERATORS;
    let generators = [
        &g.Gw,
        &g.Gw_prime,
        &g.Gx0,
        &g.Gx1,
        &g.GV,
        &g.Ga,
        &g.Gg,
        &g.Gh,
        &g.Gs,
    ];
    Algebra {
        generators: generators.map(|generator| generator.at.point),
        key: key.witness(),
    }
}

#[test]
fn the_identities_hold_on_ristretto255() {
    let scene = scene();
    let algebra = ours(scene.issuer().current_key());
    algebra.check_identities(curve25519_dalek::Scalar::from, crate::credential::U);
}

#[test]
fn parameters_macs_serials_and_presentations_agree_with_slow_arithmetic() {
    let scene = scene();
    let key = scene.issuer().current_key();
    let algebra = ours(key);
    let (Cw, I) = algebra.parameters();
    let published = key.parameters().encode();
    assert_eq!(published[4..36], Point::from(Cw).encoding);
    assert_eq!(published[36..], Point::from(I).encoding);

    let (_, pair) = settle(&scene, purchase(&scene, 0, 100), 0);
    for credential in pair.credentials() {
        let (a, r) = (credential.amount().into(), credential.blinding());
        let U = crate::credential::U(credential.t());
        let V = algebra.mac(credential.t(), U, algebra.attribute(&a, r));
        assert_eq!(credential.V().unwrap().point, V);
        assert_eq!(
            credential.serial().0,
            Point::from(algebra.serial(r)).encoding
        );
    }
    let in_flight = spend(&scene, &pair, &Spending::transfer(10));
    for shown in in_flight.request().head.presentations.unwrap() {
        let crate_side = key.present(&shown).unwrap();
        let presented = Presented {
            Ca: crate_side.Ca.point,
            Cx0: crate_side.Cx0.point,
            Cx1: crate_side.Cx1.point,
            CV: Point::decode(&shown.CV).unwrap().point,
            S: crate_side.S.point,
        };
        assert_eq!(algebra.Z(&presented), crate_side.Z.point);
    }
    // The issuer adds 7 tokens to the first output only.
    let issuance = scene
        .issuer()
        .issue(in_flight.request(), Status::DONE, 7)
        .unwrap();
    let outputs = in_flight.request().outputs().unwrap();
    let seven = times(&7_u64.into(), GENERATORS.Gg.at.point);
    for (mac, M) in issuance
        .macs
        .iter()
        .zip([outputs[0].point + seven, outputs[1].point])
    {
        let t = crate::group::decode_scalar(mac.t).unwrap();
        let V = algebra.mac(&t, crate::credential::U(&t), M);
        assert_eq!(mac.V, Point::from(V).encoding);
    }
}
