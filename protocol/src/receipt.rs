//! Signed proof of what a storage node found for one request.
//!
//! | bytes | field |
//! | --- | --- |
//! | 4 | epoch |
//! | 32 | hash of the parameter record |
//! | 64 | BIP 340 signature by the receipt key |
//!
//! The signature covers `tagged_hash("larder/receipt", …)` over, in this order:
//!
//! | bytes | field |
//! | --- | --- |
//! | 1 | op |
//! | 33 | key |
//! | 1 | outcome, the reply's status code |
//! | 1 + 32 | 1 and the blob's or cell's hash, or 0 and zeros when there is none; of `StaleSequence` 1, 24 zeros and the sequence |
//! | 4 | epoch |
//! | 32 | hash of the parameter record |
//! | 32 | nonce of the request |
//!
//! Everything but epoch and record hash is known to whoever holds request and reply, so only
//! those two travel with the signature.

use std::fmt;

use secp256k1::Keypair;

use crate::tagged::{sign, tagged_hash, verifies};
use crate::wire::Reader;
use crate::{BlobHash, DecodeError, Key, Nonce, Op, ReceiptKey, RecordHash};

/// What a receipt is about: the parts that both sides know without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding {
    /// The operation that was asked for.
    pub op: Op,
    /// The key it was about.
    pub key: Key,
    /// The status code of the reply ([`Reply::code`](crate::Reply::code)).
    pub outcome: u8,
    /// Hash of the blob that was inserted, removed or found, or of the cell that was written or
    /// opened; `None` when there is none.
    pub blob: Option<BlobHash>,
    /// The request's nonce.
    pub nonce: Nonce,
}

/// A storage node's signature over a [`Finding`], its epoch and its terms.
#[derive(Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The epoch in which the server answered.
    pub epoch: u32,
    /// The terms under which it answered.
    pub record: RecordHash,
    /// BIP 340, by the receipt key.
    pub signature: [u8; 64],
}

impl Receipt {
    /// Bytes on the wire.
    pub const LEN: usize = 4 + 32 + 64;

    /// Signs what the server found.
    #[must_use]
    pub fn sign(keypair: &Keypair, finding: &Finding, epoch: u32, record: RecordHash) -> Self {
        Receipt {
            epoch,
            record,
            signature: sign(digest(finding, epoch, record), keypair),
        }
    }

    /// Whether the server with this receipt key vouches for the finding.
    #[must_use]
    pub fn proves(&self, key: &ReceiptKey, finding: &Finding) -> bool {
        verifies(
            digest(finding, self.epoch, self.record),
            &self.signature,
            &key.x_only(),
        )
    }

    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.epoch.to_be_bytes());
        to.extend_from_slice(&self.record.0);
        to.extend_from_slice(&self.signature);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Receipt {
            epoch: reader.u32("the receipt")?,
            record: RecordHash(reader.array("the receipt")?),
            signature: reader.array("the receipt")?,
        })
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receipt(..)")
    }
}

fn digest(finding: &Finding, epoch: u32, record: RecordHash) -> [u8; 32] {
    let (present, hash) = match finding.blob {
        Some(hash) => (1, hash.0),
        None => (0, [0; 32]),
    };
    tagged_hash(
        "larder/receipt",
        &[
            &[finding.op as u8],
            finding.key.as_bytes(),
            &[finding.outcome],
            &[present],
            &hash,
            &epoch.to_be_bytes(),
            &record.0,
            &finding.nonce.0,
        ],
    )
}
