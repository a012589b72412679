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

mod build;
mod in_flight;
mod spending;
mod unspent;
mod walk;

pub use in_flight::{AdjustRule, InFlight, Rejected, Replaced, Settled};
pub use spending::{HEADROOM, Spending};
pub use unspent::{Unspendable, Unspent};
pub use walk::{Aside, Interrupted, Stop, Walked, walk};
