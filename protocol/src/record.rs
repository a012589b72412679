//! The terms of a storage node: signed, hashed, identical for every client.
//!
//! | bytes | field |
//! | --- | --- |
//! | 1 | protocol version |
//! | 33 | server key |
//! | 33 | receipt key |
//! | 33 | node id |
//! | 4 | current epoch |
//! | 4 | seconds from one epoch to the next; 0 when epochs do not change |
//! | 1 | payment: 0 none, 1 credentials, 2 with passes, 3 with earlier records, 4 with both |
//! | by payment | [`Tariff`], when credentials pay |
//!
//! The tariff:
//!
//! | bytes | field |
//! | --- | --- |
//! | 1 + 68 n | issuer parameters of the `n` live epochs, oldest first, the current one last |
//! | 32 | [commitment](issuer_commitment) to the next epoch's issuer parameters |
//! | 2 x 32 | with passes: [commitments](crate::Pass::commitment) to those of this epoch and of the next one |
//! | 1 + 36 n | with earlier records: the last 1 to 16, oldest first: epoch 4, [hash](Record::hash) 32 |
//! | 5 x 8 | prices in tokens: insert, lookup, delete, breakglass put, transfer |
//! | 1 + 8 n | refund in tokens for a delete `0, 1, …, n-1` epochs after the insert |
//! | 1 + 8 n | denominations in tokens that can be bought |
//! | 4 | breakglass timer, seconds |
//! | 1 | how many earlier epochs the next one takes credentials of, if there were so many |
//!
//! The hashes of earlier records make all records of a storage node one chain: one that gave two clients different
//! records at any time never gives them one record again, as long as either remembers one that is listed. What was
//! signed for an epoch is in every record of the next 16.
//!
//! A signed record is `record ‖ signature 64`: BIP 340 by the server key over
//! `tagged_hash("larder/record", SHA-256(record))`. The record's hash is
//! `tagged_hash("larder/record-hash", SHA-256(record))`.

use std::fmt;

use larder_credentials::{Epoch, PARAMETERS_BYTES, Parameters, Service};
use secp256k1::Keypair;
use sha2::{Digest, Sha256};

use crate::tagged::{sign, tagged_hash, verifies};
use crate::wire::Reader;
use crate::{DecodeError, NodeId, ReceiptKey, ServerKey, VERSION};

/// Hash of a parameter record, 32 bytes; clients compare it, receipts name it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordHash(pub [u8; 32]);

impl fmt::Debug for RecordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordHash(..)")
    }
}

/// The terms of a storage node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its identity.
    pub server_key: ServerKey,
    /// What it signs receipts with.
    pub receipt_key: ReceiptKey,
    /// Its Lightning node id.
    pub node_id: NodeId,
    /// The epoch now.
    pub epoch: u32,
    /// Seconds from one epoch to the next; 0 when epochs do not change.
    pub epoch_seconds: u32,
    /// What its work costs, or `None` when it runs with `payment = "none"`.
    pub tariff: Option<Tariff>,
}

/// A record of an epoch that is over, as later ones name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Earlier {
    /// Its epoch.
    pub epoch: u32,
    /// Its hash.
    pub hash: RecordHash,
}

/// What a storage node's work costs, and the keys of the credentials that pay for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tariff {
    /// Issuer parameters of all live epochs, oldest first, 68 bytes each
    /// ([`larder_credentials::Parameters`]).
    pub issuers: Vec<[u8; PARAMETERS_BYTES]>,
    /// [Commitment](issuer_commitment) to the next epoch's issuer parameters.
    pub next_issuer: [u8; 32],
    /// [Commitments](crate::Pass::commitment) to the passes of this epoch and of the next one.
    /// There are none in records from before there were passes.
    pub passes: Option<[[u8; 32]; 2]>,
    /// The records before this one, oldest first: the last [`Tariff::EARLIER`], and none in the first one of a store.
    pub earlier: Vec<Earlier>,
    /// Prices in tokens.
    pub prices: Prices,
    /// Tokens returned for a delete `0, 1, …` epochs after the insert; none after the last.
    pub refunds: Vec<u64>,
    /// Amounts in tokens that can be bought.
    pub denominations: Vec<u64>,
    /// Seconds from the opening of a breakglass cell to its deletion.
    pub breakglass_seconds: u32,
    /// How many earlier epochs the next one takes credentials of, this one included, if there were so many: so a client
    /// knows what it has to move before the next epoch begins, and that it may take its time with the rest.
    pub next_takes: u8,
}

/// Prices in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prices {
    /// Of an insert.
    pub insert: u64,
    /// Of a lookup.
    pub lookup: u64,
    /// Of a delete, before its refund.
    pub delete: u64,
    /// Of writing a breakglass cell.
    pub breakglass: u64,
    /// Of a transfer.
    pub transfer: u64,
}

impl Record {
    /// Signs the record. The keypair has to be the one behind its server key.
    #[must_use]
    pub fn sign(self, keypair: &Keypair) -> SignedRecord {
        let signature = sign(signed_digest(&self.encode()), keypair);
        SignedRecord {
            record: self,
            signature,
        }
    }

    /// The hash that clients compare and receipts name.
    #[must_use]
    pub fn hash(&self) -> RecordHash {
        RecordHash(tagged_hash(
            "larder/record-hash",
            &[&Sha256::digest(self.encode())],
        ))
    }

    /// The service whose credentials pay here: its id is
    /// `tagged_hash("larder/service", server_key)`, its amounts are 32 bits wide.
    #[must_use]
    pub fn service(&self) -> Service {
        Service::new(tagged_hash("larder/service", &[self.server_key.as_bytes()]))
    }

    /// What proofs are made and checked with, or `None` when nothing is to be paid.
    ///
    /// # Errors
    /// [`DecodeError`] when the issuer parameters are none, or not those of ascending epochs up
    /// to the current one; the storage node that signed the record is at fault.
    #[must_use]
    pub fn credentials(&self) -> Option<Result<larder_credentials::Record, DecodeError>> {
        let tariff = self.tariff.as_ref()?;
        Some(tariff.live().and_then(|live| {
            larder_credentials::Record::new(self.service(), Epoch(self.epoch), live)
                .map_err(|_| DecodeError::Inconsistent("the live epochs end with the current one"))
        }))
    }

    fn encode(&self) -> Vec<u8> {
        let mut to = Vec::with_capacity(512);
        to.push(VERSION);
        to.extend_from_slice(self.server_key.as_bytes());
        to.extend_from_slice(self.receipt_key.as_bytes());
        to.extend_from_slice(self.node_id.as_bytes());
        to.extend_from_slice(&self.epoch.to_be_bytes());
        to.extend_from_slice(&self.epoch_seconds.to_be_bytes());
        match &self.tariff {
            None => to.push(0),
            Some(tariff) => {
                let (passes, earlier) = (tariff.passes.is_some(), !tariff.earlier.is_empty());
                to.push(1 + u8::from(passes) + 2 * u8::from(earlier));
                tariff.encode(&mut to);
            }
        }
        to
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8("the record")?;
        if version != VERSION {
            return Err(DecodeError::UnsupportedVersion(version));
        }
        let record = Record {
            server_key: ServerKey::from_slice(reader.take(33, "the server key")?)?,
            receipt_key: ReceiptKey::from_slice(reader.take(33, "the receipt key")?)?,
            node_id: NodeId::from_slice(reader.take(33, "the node id")?)?,
            epoch: reader.u32("the epoch")?,
            epoch_seconds: reader.u32("the epoch")?,
            tariff: match reader.u8("the payment")? {
                0 => None,
                code @ 1..=4 => {
                    let (passes, earlier) = (code % 2 == 0, code > 2);
                    Some(Tariff::decode(&mut reader, passes, earlier)?)
                }
                code => {
                    return Err(DecodeError::UnknownCode {
                        what: "the payment",
                        code,
                    });
                }
            },
        };
        // A record is hashed as it was sent, so what this version cannot keep it must refuse.
        reader.finish()?;
        let last = record.tariff.as_ref().and_then(|it| it.earlier.last());
        if last.is_some_and(|last| last.epoch >= record.epoch) {
            return Err(DecodeError::Inconsistent(
                "earlier records are of earlier epochs",
            ));
        }
        Ok(record)
    }
}

/// What [`Tariff::next_issuer`] holds for the epoch with these parameters:
/// `tagged_hash("larder/issuer", parameters)`. A server that keeps to it cannot choose its next
/// keys by who will use them.
#[must_use]
pub fn issuer_commitment(parameters: &[u8; PARAMETERS_BYTES]) -> [u8; 32] {
    tagged_hash("larder/issuer", &[parameters])
}

impl Tariff {
    /// Earlier records that a record names, at most.
    pub const EARLIER: usize = 16;

    /// What the record behind this one names.
    #[must_use]
    pub fn earlier_with(&self, epoch: u32, hash: RecordHash) -> Vec<Earlier> {
        let mut earlier = self.earlier.clone();
        earlier.push(Earlier { epoch, hash });
        let forgotten = earlier.len().saturating_sub(Tariff::EARLIER);
        earlier.split_off(forgotten)
    }

    /// The issuer parameters of the live epochs, in the one order they may have.
    fn live(&self) -> Result<Vec<Parameters>, DecodeError> {
        let live = self
            .issuers
            .iter()
            .map(|bytes| Parameters::decode(bytes))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| DecodeError::Inconsistent("issuer parameters are an epoch and points"))?;
        if !live.is_sorted_by_key(Parameters::epoch) {
            return Err(DecodeError::Inconsistent("the oldest live epoch is first"));
        }
        Ok(live)
    }

    fn encode(&self, to: &mut Vec<u8>) {
        let count = |to: &mut Vec<u8>, len: usize| {
            debug_assert!(len <= usize::from(u8::MAX));
            to.push(len as u8);
        };
        count(to, self.issuers.len());
        to.extend(self.issuers.iter().flatten());
        to.extend_from_slice(&self.next_issuer);
        to.extend(self.passes.iter().flatten().flatten());
        if !self.earlier.is_empty() {
            count(to, self.earlier.len());
        }
        for Earlier { epoch, hash } in &self.earlier {
            to.extend_from_slice(&epoch.to_be_bytes());
            to.extend_from_slice(&hash.0);
        }
        let Prices {
            insert,
            lookup,
            delete,
            breakglass,
            transfer,
        } = self.prices;
        for price in [insert, lookup, delete, breakglass, transfer] {
            to.extend_from_slice(&price.to_be_bytes());
        }
        for list in [&self.refunds, &self.denominations] {
            count(to, list.len());
            to.extend(list.iter().flat_map(|tokens| tokens.to_be_bytes()));
        }
        to.extend_from_slice(&self.breakglass_seconds.to_be_bytes());
        to.push(self.next_takes);
    }

    fn decode(
        reader: &mut Reader<'_>,
        with_passes: bool,
        with_earlier: bool,
    ) -> Result<Self, DecodeError> {
        let issuers = (0..reader.u8("the issuer parameters")?)
            .map(|_| reader.array("the issuer parameters"))
            .collect::<Result<_, _>>()?;
        let next_issuer = reader.array("the commitment")?;
        let mut pass = || reader.array("the commitments to passes");
        let passes = match with_passes {
            true => Some([pass()?, pass()?]),
            false => None,
        };
        let earlier = match with_earlier {
            true => earlier(reader)?,
            false => Vec::new(),
        };
        let mut price = || reader.u64("the prices");
        let prices = Prices {
            insert: price()?,
            lookup: price()?,
            delete: price()?,
            breakglass: price()?,
            transfer: price()?,
        };
        let mut list = |what| {
            (0..reader.u8(what)?)
                .map(|_| reader.u64(what))
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Tariff {
            issuers,
            next_issuer,
            passes,
            earlier,
            prices,
            refunds: list("the refunds")?,
            denominations: list("the denominations")?,
            breakglass_seconds: reader.u32("the breakglass timer")?,
            next_takes: reader.u8("the epochs that the next one takes")?,
        })
    }
}

/// As many as there may be, and at least one: none is said by the payment.
fn earlier(reader: &mut Reader<'_>) -> Result<Vec<Earlier>, DecodeError> {
    let what = "the earlier records";
    let count = usize::from(reader.u8(what)?);
    if !(1..=Tariff::EARLIER).contains(&count) {
        return Err(DecodeError::Inconsistent(
            "a record names 1 to 16 earlier ones",
        ));
    }
    let earlier: Vec<Earlier> = (0..count)
        .map(|_| {
            Ok(Earlier {
                epoch: reader.u32(what)?,
                hash: RecordHash(reader.array(what)?),
            })
        })
        .collect::<Result<_, DecodeError>>()?;
    if !earlier.is_sorted_by(|one, next| one.epoch < next.epoch) {
        return Err(DecodeError::Inconsistent(
            "the oldest earlier record is first",
        ));
    }
    Ok(earlier)
}

/// A record and the server's signature under it.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedRecord {
    record: Record,
    signature: [u8; 64],
}

impl SignedRecord {
    /// The record, if it is signed by the server key that the client knows from the address.
    #[must_use]
    pub fn verified(&self, server: &ServerKey) -> Option<&Record> {
        let genuine = self.record.server_key == *server
            && verifies(
                signed_digest(&self.record.encode()),
                &self.signature,
                &server.x_only(),
            );
        genuine.then_some(&self.record)
    }

    /// `record ‖ signature`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut to = self.record.encode();
        to.extend_from_slice(&self.signature);
        to
    }

    /// Reads `record ‖ signature`; does not check the signature.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are no record; the storage node that sent them is at fault.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (record, signature) = bytes
            .split_last_chunk()
            .ok_or(DecodeError::Truncated("the record"))?;
        Ok(SignedRecord {
            record: Record::decode(record)?,
            signature: *signature,
        })
    }
}

impl fmt::Debug for SignedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SignedRecord").field(&self.record).finish()
    }
}

fn signed_digest(record: &[u8]) -> [u8; 32] {
    tagged_hash("larder/record", &[&Sha256::digest(record)])
}
