//! What a Larder client and a storage node must agree on, as plain functions from
//! bytes to values and back: no I/O, no clock, no randomness, no async.

mod blob;
mod bytes;
mod key;

pub use blob::{BLOB_LEN, Blob, BlobHash};
pub use bytes::InvalidBytes;
pub use key::Key;
