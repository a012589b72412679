//! What a wallet links: store blobs with a storage node it never connects to, lose
//! everything except the root key, and get all of it back.
//!
//! | file | concept |
//! | --- | --- |
//! | [`root`], [`words`] | the one secret a wallet has to keep, and how it is written down |
//! | [`schedule`] | every other secret, by HMACing counters with the root |
//! | [`seal`] | 16,433 bytes that say nothing to anyone without the root |
//! | [`transport`] | how requests reach a provider; over onion messages by default |
//! | [`provider`] | insert, delete, lookup with one storage node, receipts checked |
//! | [`value`] | values of any size as one head and linked continuation blobs |
//! | [`sequence`] | the mission's plain layout: values by counter |
//! | [`walk`] | restoring a sequence from the root key alone |
//! | [`log`] | atomic commits, several devices, one history |
//! | [`checkpoint`] | a place in the log's history, to be written down beside the root key |
//! | [`breakglass`] | staying restorable from the root key alone, and the restore |
//! | [`quorum`] | the log with several providers, one of which may fail |
//! | [`conviction`] | proof that a storage node lost what it had acknowledged |
//! | [`forgery`] | a blob in a place of ours that the root key never wrote there |
//! | [`reach`] | proof, for a signer behind an untrusted node, of what is stored now |
//! | [`purse`] | the tokens that pay for it, and what a crash must not lose |
//! | [`buying`], [`upkeep`], [`price()`] | getting tokens, keeping them, knowing what they buy |
//!
//! Nothing here needs a database, a particular async runtime, or a disk that survives. A wallet that has one may keep there what
//! a crash would leave behind to be paid for: [`log::unfinished`].
//!
//! ```no_run
//! # use larder_recovery::{Provider, RootKey, Sequence, Transport, Walk};
//! # use std::sync::Arc;
//! # async fn example(transport: Arc<dyn Transport>) -> Result<(), Box<dyn std::error::Error>> {
//! let root: RootKey = "6c…".parse()?;
//! let provider = Arc::new(Provider::connect("larder1…".parse()?, transport).await?);
//! // Everyday use.
//! let mut sequence = Sequence::start(&root, provider.clone());
//! let counter = sequence.append(b"channel state 1").await?;
//! // After total loss.
//! let mut walk = Walk::new(Sequence::start(&root, provider));
//! while let Some(step) = walk.next().await? {
//!     println!("{}: {:?}", step.counter, step.found);
//! }
//! let sequence = walk.finish();
//! # Ok(()) }
//! ```

pub mod breakglass;
pub mod buying;
pub mod checkpoint;
pub mod contradiction;
pub mod conviction;
pub mod forgery;
pub mod log;
pub mod provider;
pub mod purse;
pub mod quorum;
pub mod reach;
pub mod root;
pub mod schedule;
pub mod seal;
pub mod sequence;
pub mod transport;
pub mod upkeep;
pub mod value;
pub mod walk;
pub mod words;

mod assembly;
mod error;
mod evidence;
mod exchange;
mod paying;
mod price;
mod terms;

pub use buying::{Means, Purchase, PurchaseId, Stage};
pub use checkpoint::{Checkpoint, InvalidCheckpoint, Vouched};
pub use error::RecoveryError;
pub use evidence::Evidence;
pub use forgery::Forgery;
pub use price::{Price, price, price_in_map};
pub use provider::{Looked, Provider, Removed, Written};
pub use purse::folder::FolderJournal;
pub use purse::journal::{Entry, Journal, JournalError, MemoryJournal};
pub use purse::{Holdings, Purse};
pub use root::RootKey;
pub use schedule::{Lane, Purpose, Schedule, Slot};
pub use sequence::{Position, Sequence};
pub use transport::{OnionTransport, Spent, Transport, Unreachable};
pub use upkeep::Upkeep;
pub use walk::{Found, Progress, Step, Walk};
