//! The client's side: pairs, and what happens to them.
//!
//! Money has one state at a time, and its type says which:
//!
//! ```text
//! Unspent ── spend ──▶ InFlight ── accept ──▶ Replaced { pair: Unspent, … }
//!                         │    └── accept ──▶ Overtaken { rows, … }
//!                         └── abandon ──▶ Unspent   (only after a refusal)
//! ```
//!
//! Nothing is lost when a process stops in between. A request is a function of the root,
//! the pair, the record and the operation, so an interrupted client that persisted its
//! *intention* rebuilds the identical bytes, and the issuer answers an identical request
//! without charging twice.
//!
//! The randomness of a request comes from `PRF(root, label, parts…)` as a seed for the
//! generator of `sigma-proofs`. Every seed depends on the complete statement and witness:
//!
//! | drawn | label | parts |
//! | --- | --- | --- |
//! | `z_1`, `z_2` | `presentation` | context before anything is presented (`k_in` is 0 in it); both stored credentials; openings; entropy, 0 or 32 bytes |
//! | nonces of the range proof | `range-proof` | context; openings |
//! | nonces of the Σ-proof | `proof` | session tag; label of the statement; witness in the order of §4.3 |
//!
//! The context is the digest, kind and width of the range proof, the parameters of both
//! epochs (zero bytes for none) and all of the core that precedes the proofs; the openings
//! are `v_1`, `r'_1`, `v_2`, `r'_2`. What is derived from the root beside this is in the
//! source of [`Root`](crate::Root).

mod build;
mod in_flight;
mod spending;
mod unspent;
mod walk;

#[cfg(test)]
pub(crate) use build::zs;
pub use in_flight::{AdjustRule, InFlight, Rejected, Replaced, Settled};
pub use spending::{HEADROOM, Spending};
pub use unspent::{Unspendable, Unspent};
pub use walk::{Aside, Interrupted, Stop, Walked, walk};
