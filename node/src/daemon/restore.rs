//! `larderd restore`: the one way to take a store from a backup into use.
//!
//! What was spent after the backup was made, the store does not know; taken as it is, it would
//! let all of that be spent again. So the node enters an epoch that is later than any it can have
//! been in, and closes all earlier ones for good (`credentials.md` §7).
//!
//! Doing it twice enters yet another epoch, which costs clients what they bought in between and
//! is safe otherwise: a crash in the middle is mended by doing it again.

use std::sync::Arc;

use crate::clock::Clock;
use crate::identity::Identity;
use crate::node::open_folder;
use crate::succession::Succession;
use crate::{Config, NodeError};

/// Restores, and says what that means.
pub(super) fn restore(config: &Config, clock: Arc<dyn Clock>) -> Result<String, NodeError> {
    // A new seed would be another node: the backup has to bring its own.
    let (engine, identity) = open_folder(config, Identity::load)?;
    let succession = Succession {
        engine,
        identity,
        offer: Some(config.offer.clone()),
        clock,
    };
    let terms = succession.after_restore(&config.offer)?;
    Ok(format!(
        "restored: this is epoch {}, and all earlier ones are closed\n\
         What clients stored up to the backup is there; what they stored after it is gone, and\n\
         what they deleted after it is there again.\n\
         All tokens are void, and clients have to buy new ones. Vouchers and payments that were\n\
         used after the backup was made can be used once more, until they expire.\n\
         Start the node as usual. Running this again would void the tokens bought since.\n",
        terms.epoch
    ))
}
