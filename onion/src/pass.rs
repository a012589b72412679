//! What both ends make of a [`Pass`]: a blinded path of one hop to the storage node, made by LDK.
//!
//! The client sends along it. Its path key stands in front of the onion, where the storage node knows it
//! with a comparison. To see it is not enough to use it: an onion that opens takes the secret
//! behind the path key, and what authenticates the path's only hop.
//!
//! One pass in 2^128 makes no path, because its secret is no scalar. To both ends it is as if there were
//! none.

use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey, Signing, Verification};
use larder_protocol::Pass;
use lightning::blinded_path::message::{BlindedMessagePath, MessageContext};
use lightning::ln::msgs::OnionMessage;
use lightning::sign::{EntropySource, ReceiveAuthKey};

/// The path of a pass to the storage node `to`. LDK hands an empty context to whoever opens what
/// comes along it.
pub(crate) fn path<C: Signing + Verification>(
    pass: &Pass,
    to: PublicKey,
    secp: &Secp256k1<C>,
) -> Option<BlindedMessagePath> {
    let secret = PathSecret::new(pass.path_secret())?;
    let auth_key = ReceiveAuthKey(pass.auth_key());
    let context = MessageContext::Custom(Vec::new());
    Some(BlindedMessagePath::one_hop(
        to, auth_key, context, &secret, secp,
    ))
}

/// A pass as the storage node meets it.
#[derive(Clone, Copy)]
pub(crate) struct Honoured {
    path_key: PublicKey,
    pub(crate) auth_key: ReceiveAuthKey,
}

impl Honoured {
    /// Computes what shows of it.
    pub(crate) fn new<C: Signing>(pass: &Pass, secp: &Secp256k1<C>) -> Option<Self> {
        let secret = PathSecret::new(pass.path_secret())?;
        Some(Honoured {
            path_key: PublicKey::from_secret_key(secp, &secret.0),
            auth_key: ReceiveAuthKey(pass.auth_key()),
        })
    }

    /// Whether a message shows it, before anybody has opened that.
    pub(crate) fn is_shown_by(&self, message: &OnionMessage) -> bool {
        message.blinding_point == self.path_key
    }
}

/// What is behind a path key. LDK asks for randomness and panics when it is no scalar.
struct PathSecret(SecretKey);

impl PathSecret {
    fn new(bytes: [u8; 32]) -> Option<Self> {
        SecretKey::from_slice(&bytes).ok().map(PathSecret)
    }
}

impl EntropySource for PathSecret {
    fn get_secure_random_bytes(&self) -> [u8; 32] {
        self.0.secret_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_make_the_same_path_of_a_pass_and_another_one_of_another() {
        let secp = Secp256k1::new();
        let node = PathSecret::new([1; 32]).unwrap().0.public_key(&secp);
        let path_of = |byte| path(&Pass::from_bytes([byte; 32]), node, &secp).unwrap();
        assert!(path_of(2) == path_of(2));
        assert!(path_of(2) != path_of(3));
        let known = Honoured::new(&Pass::from_bytes([2; 32]), &secp).unwrap();
        assert_eq!(known.path_key, path_of(2).blinding_point());
        assert_ne!(known.path_key, path_of(3).blinding_point());
    }

    #[test]
    fn a_secret_that_is_no_scalar_makes_no_path() {
        assert!(PathSecret::new([0xff; 32]).is_none());
        assert!(PathSecret::new([0; 32]).is_none());
    }
}
