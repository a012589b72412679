//! The issuer's secrets, and all arithmetic that touches them (§2, §3, §5).
//!
//! Everything here that depends on a secret is constant-time: scalar arithmetic,
//! multiplication by table and [`MultiscalarMul`] are so in `curve25519-dalek`, no secret
//! is compared or branched on, and which points take part is public. Secrets are erased
//! when dropped.
//!
//! Nothing here draws randomness. MAC nonces and proof nonces are derived from the key and
//! from *all* that is signed, so a cloned or rewound machine repeats itself instead of
//! signing two attributes under one nonce, which would forge (§3, §10.1).

use std::fmt;

use curve25519_dalek::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::MultiscalarMul;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::credential::U;
use crate::epoch::Epoch;
use crate::error::{Malformed, Refusal};
use crate::generators::GENERATORS;
use crate::group::Point;
use crate::issuance::{Issuance, IssuanceContext, Mac, adjusted};
use crate::parameters::Parameters;
use crate::prf::PrfKey;
use crate::request::Presentation;
use crate::service::Service;
use crate::statement::{self, Issued, Presented};

/// 32 secret bytes from which every epoch's key is derived, so that a restored issuer can
/// still serve live epochs. Erased when dropped.
///
/// Services derive different keys from one master. Two *ledgers* of one service must not:
/// each would take a pair that was spent at the other.
#[derive(Clone)]
pub struct MasterSecret(PrfKey);

impl MasterSecret {
    /// The master secret with these bytes, which **must** be uniformly random.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        MasterSecret(PrfKey::new(bytes))
    }
}

impl fmt::Debug for MasterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterSecret")
    }
}

/// The secret scalars of one epoch.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Secrets {
    w: Scalar,
    w_prime: Scalar,
    x0: Scalar,
    x1: Scalar,
    ya: Scalar,
    /// `W = w·Gw`, as secret as the scalars.
    W: RistrettoPoint,
    /// Half of `W`; see [`Point::from_halves`].
    W_half: RistrettoPoint,
}

/// The key of one epoch: makes MACs, checks presentations.
pub struct IssuerKey {
    secrets: Secrets,
    mac_nonces: PrfKey,
    proof_nonces: PrfKey,
    parameters: Parameters,
}

impl IssuerKey {
    /// The key of this service in this epoch (§2). Another service, or another width of its
    /// amounts, has another key: a shared one would let a pair be spent once at each.
    #[must_use]
    pub fn derive(master: &MasterSecret, service: &Service, epoch: Epoch) -> Self {
        let width = [service.range().bits()];
        let parts: [&[u8]; 3] = [service.id(), &width, &epoch.0.to_le_bytes()];
        let epoch_key = master.0.derive("issuer", &parts);
        let [w, w_prime, x0, x1, ya] =
            ["w", "w'", "x0", "x1", "ya"].map(|name| epoch_key.scalar(name, &[]));
        let g = &*GENERATORS;
        let W = &g.Gw * &w;
        let Cw = W + &g.Gw_prime * &w_prime;
        let I = g.GV.at.point - (&g.Gx0 * &x0 + &g.Gx1 * &x1 + &g.Ga * &ya);
        IssuerKey {
            secrets: Secrets {
                w,
                w_prime,
                x0,
                x1,
                ya,
                W,
                W_half: &g.Gw * &w.div_by_2(),
            },
            mac_nonces: epoch_key.derive("t", &[]),
            proof_nonces: epoch_key.derive("issuance-nonces", &[]),
            parameters: Parameters::new(epoch, Cw.into(), I.into()),
        }
    }

    /// Its epoch.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.parameters.epoch()
    }

    /// What is published of it.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Decodes a presentation and computes
    /// `Z = CV − (W + x0·Cx0 + x1·Cx1 + ya·Ca)`, which is `z·I` for a valid credential and
    /// for that `z` only whoever holds it knows (§4.2).
    pub(crate) fn present(&self, presentation: &Presentation) -> Result<Presented, Malformed> {
        let Ca = Point::decode(&presentation.Ca)?;
        let Cx0 = Point::decode(&presentation.Cx0)?;
        let Cx1 = Point::decode(&presentation.Cx1)?;
        let CV = Point::decode(&presentation.CV)?;
        let S = Point::decode(&presentation.S)?;
        let Secrets { x0, x1, ya, W, .. } = &self.secrets;
        let mac = RistrettoPoint::multiscalar_mul([x0, x1, ya], [Cx0.point, Cx1.point, Ca.point]);
        let Z = Point::from(CV.point - W - mac);
        Ok(Presented { Ca, Cx0, Cx1, S, Z })
    }

    /// MACs on the adjusted outputs, and the proof that this key made them. Whoever calls
    /// this makes tokens: see [`Issuer::issue`](crate::Issuer::issue).
    pub(crate) fn issue(
        &self,
        context: &IssuanceContext<'_>,
        outputs: [Point; 2],
        adjust: u64,
    ) -> Result<Issuance, Refusal> {
        let attributes = adjusted(outputs, adjust);
        let tag = context.tag(&self.parameters, adjust);
        let ts = [1, 2].map(|j| self.mac_nonce(&tag, &attributes, j));
        let Us = ts.map(|t| U(&t));
        let halves: [RistrettoPoint; 2] =
            std::array::from_fn(|j| self.half_mac(&ts[j], &Us[j], &attributes[j].point));
        let Vs = Point::from_halves(&halves);
        let issued: [Issued; 2] = std::array::from_fn(|j| Issued {
            M: attributes[j],
            t: ts[j],
            U: Us[j].into(),
            V: Vs[j],
        });
        let statement = statement::issue(self.parameters.issue(), issued);
        let Secrets {
            w,
            w_prime,
            x0,
            x1,
            ya,
            ..
        } = &self.secrets;
        let witness = Zeroizing::new([*w, *w_prime, *x0, *x1, *ya]);
        let mut nonces = self
            .proof_nonces
            .generator("proof", &[&tag, statement.label()]);
        let proof = statement
            .prove(&tag, &*witness, &mut nonces)
            .ok()
            .and_then(|proof| proof.try_into().ok())
            .ok_or(Refusal::BadProof)?;
        Ok(Issuance {
            adjust,
            macs: issued.map(|i| Mac {
                t: i.t.to_bytes(),
                V: i.V.encoding,
            }),
            proof,
        })
    }

    /// `t_j`, which depends on all serials consumed (in the tag) and on the exact
    /// attributes signed. Two attributes under one `t` would let anyone forge.
    fn mac_nonce(&self, tag: &[u8], attributes: &[Point; 2], output: u8) -> Scalar {
        let [M_1, M_2] = attributes;
        self.mac_nonces
            .scalar("t", &[tag, &M_1.encoding, &M_2.encoding, &[output]])
    }

    /// Half of `V = W + (x0 + x1·t)·U + ya·M`.
    fn half_mac(&self, t: &Scalar, U: &RistrettoPoint, M: &RistrettoPoint) -> RistrettoPoint {
        let Secrets {
            x0, x1, ya, W_half, ..
        } = &self.secrets;
        let scalars = Zeroizing::new([(x0 + x1 * t).div_by_2(), ya.div_by_2()]);
        W_half + RistrettoPoint::multiscalar_mul(scalars.iter(), [U, M])
    }
}

#[cfg(test)]
impl IssuerKey {
    /// `(w, w', x0, x1, ya)`.
    pub(crate) fn witness(&self) -> [Scalar; 5] {
        let s = &self.secrets;
        [s.w, s.w_prime, s.x0, s.x1, s.ya]
    }

    /// The `V` of a MAC under a nonce of the caller's choice, which no issuer may offer.
    pub(crate) fn naive_mac(&self, t: &Scalar, M: &RistrettoPoint) -> RistrettoPoint {
        let half = self.half_mac(t, &U(t), M);
        half + half
    }
}

impl fmt::Debug for IssuerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IssuerKey").field(&self.epoch()).finish()
    }
}
