//! The seed, and the keys made from it.
//!
//! One file of 64 hexadecimal digits, readable by its owner only. Whoever has it can pose as this
//! storage node; whoever loses it loses the node's address. From the seed come
//!
//! ```text
//! HMAC-SHA256(seed, "larder/node/server-key")    signs the parameter record
//! HMAC-SHA256(seed, "larder/node/receipt-key")   signs receipts
//! HMAC-SHA256(seed, "larder/node/onion-seed")    makes the Lightning node id
//! HMAC-SHA256(seed, "larder/node/issuer")        makes the keys of all epochs
//! HMAC-SHA256(seed, "larder/node/voucher-key")   authenticates vouchers
//! HMAC-SHA256(seed, "larder/node/passes")        makes the passes of all epochs: HMAC-SHA256(it, epoch 4)
//! ```

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use hmac::{Hmac, Mac};
use larder_credentials::MasterSecret;
use larder_protocol::{NodeId, Pass, ServerKey};
use secp256k1::{Keypair, SECP256K1, SecretKey};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::NodeError;

/// Everything secret about a storage node.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Identity {
    seed: [u8; 32],
    /// Passes of another seed.
    #[cfg(feature = "bench")]
    passes: Option<[u8; 32]>,
}

impl Identity {
    /// Takes a seed.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Identity {
            seed,
            #[cfg(feature = "bench")]
            passes: None,
        }
    }

    /// The same with the passes of another seed: what a storage node is that tells clients apart by them.
    #[cfg(feature = "bench")]
    #[must_use]
    pub fn with_passes_of(mut self, seed: [u8; 32]) -> Self {
        self.passes = Some(seed);
        self
    }

    /// Reads the seed file.
    ///
    /// # Errors
    /// [`NodeError`] when the file is not there, can be read by others, or is no seed.
    pub fn load(path: &Path) -> Result<Self, NodeError> {
        let fail = |source| NodeError::File {
            doing: "read",
            path: path.to_owned(),
            source,
        };
        let file = fs::File::open(path).map_err(fail)?;
        if file.metadata().map_err(fail)?.permissions().mode() & 0o077 != 0 {
            return Err(NodeError::SeedExposed(path.to_owned()));
        }
        let (mut text, mut file) = (Zeroizing::new(String::new()), file.take(1_024));
        file.read_to_string(&mut text).map_err(fail)?;
        let mut identity = Identity::from_seed([0; 32]);
        hex::decode_to_slice(text.trim_end(), &mut identity.seed)
            .map_err(|_| NodeError::BadSeed(path.to_owned()))?;
        Ok(identity)
    }

    /// Makes a new seed and its file, in the place of any that is there.
    ///
    /// Whole before it has its name, and durable before it is used: an address must not be
    /// handed out whose seed can get lost. One process at a time may do this.
    ///
    /// # Errors
    /// [`NodeError::File`].
    pub fn create(path: &Path) -> Result<Self, NodeError> {
        let fail = |source| NodeError::File {
            doing: "create",
            path: path.to_owned(),
            source,
        };
        let mut identity = Identity::from_seed([0; 32]);
        getrandom::fill(&mut identity.seed).map_err(|error| fail(error.into()))?;
        let text = Zeroizing::new(format!("{}\n", *Zeroizing::new(hex::encode(identity.seed))));
        write_durably(path, text.as_bytes()).map_err(fail)?;
        Ok(identity)
    }

    /// Who the node is to its clients.
    #[must_use]
    pub fn server_key(&self) -> ServerKey {
        let mut server = self.server_keypair();
        let key = ServerKey::from(server.public_key());
        server.non_secure_erase();
        key
    }

    pub(crate) fn server_keypair(&self) -> Keypair {
        self.keypair("larder/node/server-key")
    }

    pub(crate) fn receipt_keypair(&self) -> Keypair {
        self.keypair("larder/node/receipt-key")
    }

    /// What the Lightning node id is made from.
    #[must_use]
    pub fn onion_seed(&self) -> Zeroizing<[u8; 32]> {
        self.derive("larder/node/onion-seed")
    }

    pub(crate) fn node_id(&self) -> NodeId {
        larder_onion::node_id(&self.onion_seed())
    }

    pub(crate) fn issuer_secret(&self) -> MasterSecret {
        MasterSecret::from_bytes(*self.derive("larder/node/issuer"))
    }

    pub(crate) fn voucher_key(&self) -> Zeroizing<[u8; 32]> {
        self.derive("larder/node/voucher-key")
    }

    /// What is handed to those who pay in this epoch or in the one before.
    pub(crate) fn pass(&self, epoch: u32) -> Pass {
        let passes = self.derive("larder/node/passes");
        #[cfg(feature = "bench")]
        let passes = self.passes.map_or(passes, Zeroizing::new);
        Pass::from_bytes(*hmac(&passes, &epoch.to_be_bytes()))
    }

    fn keypair(&self, purpose: &str) -> Keypair {
        let bytes = self.derive(purpose);
        #[expect(
            clippy::expect_used,
            reason = "fails for one seed in 2^128, and then for ever"
        )]
        let mut secret = SecretKey::from_slice(&*bytes).expect("a scalar");
        let keypair = Keypair::from_secret_key(SECP256K1, &secret);
        secret.non_secure_erase();
        keypair
    }

    fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        hmac(&self.seed, purpose.as_bytes())
    }
}

fn hmac(key: &[u8; 32], message: &[u8]) -> Zeroizing<[u8; 32]> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length will do");
    mac.update(message);
    let mut output = mac.finalize().into_bytes();
    let derived = Zeroizing::new(output.into());
    output.as_mut_slice().zeroize();
    derived
}

/// After a crash at any moment the file is there as a whole or not at all.
fn write_durably(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let draft = path.with_file_name("seed.new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        // A crash left it; nobody has used what is in it.
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    // The folder that the file is in, and the one that its folder is in: both may be new.
    for folder in path.ancestors().skip(1).take(2) {
        let folder = match folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => folder,
        };
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_file_is_made_for_its_owner_only_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seed");
        let made = Identity::create(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(Identity::load(&path).unwrap().seed, made.seed);
        assert_ne!(made.seed, [0; 32]);
    }

    #[test]
    fn a_seed_that_others_can_read_or_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seed");
        Identity::create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            Identity::load(&path),
            Err(NodeError::SeedExposed(_))
        ));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for text in ["", "abc", &"g".repeat(64), &"a".repeat(66)] {
            fs::write(&path, text).unwrap();
            assert!(matches!(Identity::load(&path), Err(NodeError::BadSeed(_))));
        }
    }

    #[test]
    fn a_crash_while_the_seed_was_being_made_leaves_none_and_the_next_start_makes_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seed");
        fs::write(folder.path().join("seed.new"), "0123").unwrap();
        let made = Identity::create(&path).unwrap();
        assert_eq!(Identity::load(&path).unwrap().seed, made.seed);
        let names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["seed"]);
    }

    #[test]
    fn the_secrets_differ() {
        let identity = Identity::from_seed([1; 32]);
        let secrets = [
            identity.server_keypair().secret_bytes(),
            identity.receipt_keypair().secret_bytes(),
            *identity.onion_seed(),
            *identity.derive("larder/node/issuer"),
            *identity.voucher_key(),
            *identity.pass(1).as_bytes(),
            *identity.pass(2).as_bytes(),
        ];
        let distinct: std::collections::HashSet<_> = secrets.iter().collect();
        assert_eq!(distinct.len(), secrets.len());
    }
}
