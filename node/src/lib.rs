//! The storage service: requests come in over onion messages, blobs go to disk, answers go out.
//!
//! The way of a request, top to bottom:
//!
//! | file | step |
//! | --- | --- |
//! | [`node`] | start, threads, graceful shutdown |
//! | `pipeline` | parse, check, hand to the operation; shed what is too much |
//! | `insert`, `delete`, `lookup`, `info` | one operation each |
//! | `answer` | outcome -> receipt -> reply -> onion |
//!
//! and around it [`config`] (TOML, environment, flags), [`identity`] (the seed and the keys made
//! from it) and [`daemon`] (the program `larderd`).
//!
//! **Promises.** Nothing is acknowledged before it is durable. Memory is bounded whatever
//! arrives: at most a fixed number of requests is in flight, what comes above is dropped unseen.
//! No log line carries a key, a peer or a request.
//!
//! **Fails** towards the client with a [`Refusal`](larder_protocol::Refusal), towards the
//! operator with a [`NodeError`] at start and an error in the log afterwards. When a commit
//! fails, it is logged once, and the daemon ends so that it can be started anew
//! ([`Node::failed`]); look-ups go on until then.

pub mod config;
pub mod daemon;
pub mod identity;
pub mod node;

mod answer;
mod delete;
mod error;
mod info;
mod insert;
mod lookup;
mod pipeline;

pub use config::Config;
pub use error::NodeError;
pub use node::{Node, Seen, Stopped};
