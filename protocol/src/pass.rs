//! A pass: what makes a message known, before anybody has opened it, as one of somebody who has paid.
//!
//! Opening an onion costs a storage node more than telling whether it was worth it, and before that
//! one looks like another. So each answer to an operation that has a price and was paid in the present epoch, and to a purchase, carries the passes of
//! that epoch and of the next one: 32 secret bytes each, the same for every client. Who has one of them
//! sends to a [blinded path](https://github.com/lightning/bolts/blob/master/04-onion-routing.md#route-blinding)
//! of one hop that both sides make from it, and the path key, which the storage node sees before it computes
//! anything, is known.
//!
//! A pass pays for nothing. It tells the storage node that somebody had paid it in this epoch or the one
//! before, as most have. The [record](crate::record) commits to both passes one epoch ahead, so a storage node cannot give each
//! client a pass of its own and know it again; nor only some of them one, because a client to whom it owes passes and gives none says so.
//!
//! As an [`extension`](crate::extension) of a reply:
//!
//! | bytes | field |
//! | --- | --- |
//! | 32 | pass of the epoch of the terms that the request was answered under |
//! | 32 | pass of the next one |
//!
//! | derived | how |
//! | --- | --- |
//! | commitment in the record | `tagged_hash("larder/pass", pass)` |
//! | secret behind the path key | `tagged_hash("larder/pass/path", pass)` |
//! | what authenticates the path's only hop | `tagged_hash("larder/pass/auth", pass)` |
//!
//! How a path is made of these is in `onion/src/pass.rs`.

use std::fmt;

use crate::tagged::tagged_hash;

/// A pass of one epoch. Worth no tokens: whoever reads one can send as if he had paid, until it is over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pass([u8; 32]);

impl Pass {
    /// Takes its bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Pass(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What the record says of it.
    #[must_use]
    pub fn commitment(&self) -> [u8; 32] {
        tagged_hash("larder/pass", &[&self.0])
    }

    /// The secret behind the path key: a scalar, but for one pass in 2^128.
    #[must_use]
    pub fn path_secret(&self) -> [u8; 32] {
        tagged_hash("larder/pass/path", &[&self.0])
    }

    /// What authenticates the data of the path's only hop.
    #[must_use]
    pub fn auth_key(&self) -> [u8; 32] {
        tagged_hash("larder/pass/auth", &[&self.0])
    }
}

/// Prints nothing of it.
impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pass(..)")
    }
}
