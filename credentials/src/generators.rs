//! The nine generators, between which nobody knows a relation (§1).

use std::sync::LazyLock;

use curve25519_dalek::ristretto::RistrettoBasepointTable;
use curve25519_dalek::scalar::Scalar;

use crate::group::{Point, hash_to_group};

/// A generator and a table that makes secret multiples of it cheap in constant time.
pub(crate) struct Generator {
    pub(crate) at: Point,
    pub(crate) table: RistrettoBasepointTable,
}

impl Generator {
    fn named(name: &str) -> Self {
        let point = hash_to_group("generator", name.as_bytes());
        Generator {
            at: point.into(),
            table: RistrettoBasepointTable::create(&point),
        }
    }
}

impl std::ops::Mul<&Scalar> for &Generator {
    type Output = curve25519_dalek::RistrettoPoint;

    /// In constant time.
    fn mul(self, scalar: &Scalar) -> Self::Output {
        &self.table * scalar
    }
}

/// `Gw Gw' Gx0 Gx1 GV` for the MAC and its presentation, `Ga` for the attribute, `Gg Gh`
/// for the amount commitment, `Gs` for the serial.
pub(crate) struct Generators {
    pub(crate) Gw: Generator,
    pub(crate) Gw_prime: Generator,
    pub(crate) Gx0: Generator,
    pub(crate) Gx1: Generator,
    pub(crate) GV: Generator,
    pub(crate) Ga: Generator,
    pub(crate) Gg: Generator,
    pub(crate) Gh: Generator,
    pub(crate) Gs: Generator,
}

/// `G_x = HashToGroup(D/generator, "x")`.
pub(crate) static GENERATORS: LazyLock<Generators> = LazyLock::new(|| Generators {
    Gw: Generator::named("Gw"),
    Gw_prime: Generator::named("Gw'"),
    Gx0: Generator::named("Gx0"),
    Gx1: Generator::named("Gx1"),
    GV: Generator::named("GV"),
    Ga: Generator::named("Ga"),
    Gg: Generator::named("Gg"),
    Gh: Generator::named("Gh"),
    Gs: Generator::named("Gs"),
});

/// The Pedersen commitment `value·Gg + blinding·Gh`, in constant time. It is the
/// attribute of a credential and the commitment of the range proof at once.
pub(crate) fn commit(value: u64, blinding: &Scalar) -> curve25519_dalek::RistrettoPoint {
    &GENERATORS.Gg * &Scalar::from(value) + &GENERATORS.Gh * blinding
}
