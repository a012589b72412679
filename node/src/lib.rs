//! The storage service: requests come in over onion messages, blobs go to disk, answers go out.
//!
//! The way of a request, top to bottom:
//!
//! | file | step |
//! | --- | --- |
//! | [`node`] | start, graceful shutdown |
//! | `crew` | the threads |
//! | `pipeline` | which thread takes which step; shed what is too much |
//! | [`desk`] | the steps: `admit` (parse, check, cheapest first), `perform` (proof, operation, commit, answer) |
//! | `insert`, `delete`, `lookup`, `breakglass`, `exchange`, `quote` | one operation each |
//! | `replay` | what a retry is told |
//!
//! and around it `folder` (the data folder), `seen` (numbers for the operator), [`config`] (TOML, environment, flags), [`identity`] (the seed and the keys made
//! from it), `epochs`, `succession` and `terms` (when an epoch ends, which follows, what holds in one), `passes` (who is served first), `allowance`
//! (what may be asked for nothing), `sweep` (opened cells are removed), [`offer`] and `tariff`
//! (prices), [`till`] (where tokens are bought) and [`daemon`] (the program `larderd`).
//!
//! **Promises.** Nothing is acknowledged before it is durable. Memory is bounded whatever
//! arrives: at most a fixed number of requests is in flight, what comes above is dropped unseen.
//! What is refused is not paid for, unless looking into it was the work. No log line carries a
//! key, a peer, a request or a payment.
//!
//! **Fails** towards the client with a [`Refusal`](larder_protocol::Refusal), towards the
//! operator with a [`NodeError`] at start and an error in the log afterwards. When a commit
//! fails, it is logged once, and the daemon ends so that it can be started anew
//! ([`Node::failed`]); look-ups go on until then where they are free.

pub mod clock;
pub mod config;
pub mod daemon;
pub mod desk;
pub mod identity;
pub mod node;
pub mod offer;
pub mod till;

mod admit;
mod allowance;
mod believed;
mod breakglass;
mod crew;
mod delete;
mod epochs;
mod error;
mod exchange;
mod failure;
mod folder;
mod fullness;
mod gate;
mod insert;
mod lookup;
mod passes;
mod perform;
mod pipeline;
mod published;
mod quote;
mod replay;
mod seen;
mod step;
mod succession;
mod sweep;
mod tally;
mod tariff;
mod terms;
mod waiting;

pub use breakglass::Breakglass;
pub use config::Config;
pub use desk::{Desk, Sale};
pub use error::NodeError;
pub use identity::Identity;
pub use node::{Node, Stopped};
pub use offer::Offer;
pub use seen::Seen;
