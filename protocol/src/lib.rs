//! What a Larder client and a storage node must agree on, as plain functions from
//! bytes to values and back: no I/O, no clock, no randomness, no async.
//!
//! From the outside in, for one insert:
//!
//! | file | what it lays out |
//! | --- | --- |
//! | [`envelope`] | version, length, padding: the contents of one custom onion message |
//! | [`request`] | op, nonce, payment, parameters, extension |
//! | [`call`] | the operations, and what binds a payment to one of them |
//! | [`insert`], [`delete`], [`lookup`], [`quote`], [`breakglass`] | the parameters of one operation each; of two |
//! | [`reply`] | outcome or [`refusal`], receipt, replacement |
//! | [`receipt`] | signed proof of what the server found |
//! | [`record`] | the signed terms of a storage node |
//! | [`pass`] | what makes the messages of those who pay known before they are opened |
//! | [`address`] | `larder1…`, the one string a client needs to start |
//! | [`voucher`] | `larderv1…`, tokens as one string |
//!
//! What a request pays with and what comes back for it are laid out by `larder-credentials`;
//! here they are bytes with a length.
//!
//! Integers on the wire are big-endian, as in the BOLTs. Every decoder refuses trailing
//! bytes, points that are not on the curve, and lengths beyond what is there before it
//! allocates. `vectors/` holds golden vectors for a second implementation.

pub mod address;
pub mod breakglass;
pub mod call;
pub mod delete;
pub mod envelope;
pub mod extension;
pub mod insert;
pub mod lookup;
pub mod pass;
pub mod quote;
pub mod receipt;
pub mod record;
pub mod refusal;
pub mod reply;
pub mod request;
pub mod voucher;

mod blob;
mod bytes;
mod key;
mod permit;
mod tagged;
pub mod text;
mod wire;

pub use address::Address;
pub use blob::{BLOB_LEN, Blob, BlobHash};
pub use breakglass::{BreakglassOpen, BreakglassPut, CELL_BYTES, Cell, OpenedCell};
pub use bytes::InvalidBytes;
pub use call::{Call, Op};
pub use envelope::SizeClass;
pub use key::{Key, NodeId, ReceiptKey, ServerKey};
pub use pass::Pass;
pub use quote::{Quote, Quoted};
pub use receipt::Receipt;
pub use record::{Earlier, Record, RecordHash, SignedRecord, issuer_commitment};
pub use refusal::Refusal;
pub use reply::{Done, Reply};
pub use request::{Nonce, Payment, Request, Subject};
pub use text::InvalidText;
pub use voucher::Voucher;
pub use wire::DecodeError;

/// The only version of the protocol so far, the first byte of every envelope.
pub const VERSION: u8 = 1;

/// TLV type of a request among an onion message's contents: odd, so that other
/// implementations skip it, and in the experimental range.
pub const REQUEST_TLV: u64 = 0x4c41_5231;

/// TLV type of a reply.
pub const REPLY_TLV: u64 = 0x4c41_5233;
