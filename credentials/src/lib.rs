//! Anonymous credentials that carry a hidden number of tokens.
//!
//! A client holds credentials in pairs. Each paid operation presents one pair and
//! receives another; the sum of the tokens changes by a public cost and by nothing else.
//! The issuer learns the operation, its price and the epochs. It does not learn the
//! balances, and it cannot tell which earlier operation produced the pair.
//!
//! The construction is WabiSabi over ristretto255. The specification is the design page
//! `credentials.md`; the section signs (§) in this crate refer to it. The crate knows
//! nothing of storage or of Lightning and could serve any other paid service.
//!
//! | part | where |
//! | --- | --- |
//! | what both sides agree on | [`Service`], [`Record`], [`Parameters`], [`Epoch`], [`OpCode`] |
//! | what a client keeps | [`Root`], [`Unspent`] → [`InFlight`] → [`Replaced`] |
//! | what travels | [`Request`] (the *core*), [`Reply`], [`Row`], [`Issuance`] |
//! | what the issuer computes | [`Issuer`], [`IssuerKey`] |
//! | what the issuer remembers | [`Ledger`] over [`ledger::Storage`] |
//!
//! It promises that tokens are conserved, that an identical retry costs once, and that a
//! pair which was lost in transit can be opened from the [`Root`] alone. It fails closed:
//! what does not verify consumes nothing and stores nothing.
//!
//! Limits are stated in the crate's `README.md`. There has been no audit.
#![allow(non_snake_case)]

#[cfg(test)]
mod algebra_tests;
mod bytes;
mod credential;
#[cfg(test)]
mod decoder_tests;
mod epoch;
mod error;
mod generators;
mod group;
pub mod holder;
mod issuance;
#[cfg(test)]
mod issuance_tests;
mod issuer;
mod issuer_key;
pub mod ledger;
mod memo;
mod operation;
mod parameters;
mod prf;
mod range_proof;
mod range_verifier;
mod relation;
mod reply;
mod request;
mod root;
mod row;
mod service;
mod statement;
#[cfg(test)]
mod statement_tests;
#[cfg(test)]
mod test_scene;
#[cfg(test)]
mod vector_tests;
#[cfg(test)]
mod wabisabi_tests;

pub use credential::{CREDENTIAL_BYTES, Credential, PAIR_BYTES};
pub use epoch::Epoch;
pub use error::{Fault, HolderError, Malformed, Refusal};
pub use holder::{
    AdjustRule, InFlight, Rejected, Replaced, Settled, Spending, Unspent, Walked, walk,
};
pub use issuance::{ISSUANCE_BYTES, Issuance};
pub use issuer::Issuer;
pub use issuer_key::{IssuerKey, MasterSecret};
pub use ledger::Ledger;
pub use operation::{ClaimSecret, ClaimTag, OpCode, Reference, References, Status};
pub use parameters::{PARAMETERS_BYTES, Parameters, Record};
pub use reply::Reply;
pub use request::Request;
pub use root::Root;
pub use row::{ROW_BYTES, Row};
pub use service::{RangeWidth, Service};

/// The protocol's name and version; every domain separator begins with it (§1).
pub(crate) const PROTOCOL: &str = "larder/credentials/1";
