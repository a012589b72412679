//! What a store remembers of the node that it belongs to: whose it is, and what time it was.
//!
//! The owner is written once, when the store is founded, and never changed: a store beside another seed is
//! known by it. The time is that of the last note; a clock that jumps is known by it. While the clock is not believed,
//! how it has gone on since is remembered too, or a node that is restarted every day would never come to believe it.

use bincode::{Decode, Encode};
use larder_protocol::ServerKey;

use crate::ledger_record::{DOUBTS, LATEST, SERVER};
use crate::overlay::Overlay;
use crate::record::damaged;
use crate::table::Table;
use crate::view::View;
use crate::{Outcome, StoreError};

/// What a store remembers of its node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Notes {
    /// Whose it is, if that was ever said.
    pub owner: Option<ServerKey>,
    /// What time it was when it was noted last, in Unix seconds.
    pub time: Option<u64>,
    /// The clock as it was then, if it was not believed.
    pub doubt: Option<DoubtedClock>,
}

/// A clock that is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct DoubtedClock {
    /// What it said, in Unix seconds.
    pub says: u64,
    /// For how many seconds, while the node ran, it had gone on steadily.
    pub steady: u64,
}

/// Whose the store is, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Owner {
    server: [u8; 33],
}

/// What time it was, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Latest {
    seconds: u64,
}

/// What these tables remember.
pub(crate) fn read(view: &impl View) -> Result<Notes, StoreError> {
    let owner: Option<Owner> = view.value(Table::Ledger, SERVER)?;
    let latest: Option<Latest> = view.value(Table::Ledger, LATEST)?;
    let owner = owner.map(|owner| {
        ServerKey::from_slice(&owner.server).map_err(|_| damaged("its owner is no key"))
    });
    Ok(Notes {
        owner: owner.transpose()?,
        time: latest.map(|latest| latest.seconds),
        doubt: view.value(Table::Ledger, DOUBTS)?,
    })
}

/// Why the store cannot be this server's; `None` when it can, or is.
pub(crate) fn refuse_to_own(
    view: &impl View,
    server: &ServerKey,
) -> Result<Option<Outcome>, StoreError> {
    let owner = read(view)?.owner;
    let another = owner.is_some_and(|owner| owner != *server);
    Ok(another.then_some(Outcome::OwnedByAnother))
}

/// Makes the store this server's.
pub(crate) fn own(overlay: &mut Overlay<'_>, server: &ServerKey) -> Result<(), StoreError> {
    let mut owner = Owner { server: [0; 33] };
    owner.server.copy_from_slice(server.as_bytes());
    overlay.put(Table::Ledger, SERVER, &owner)
}

/// Notes what time it is, and what is thought of the clock.
pub(crate) fn note_time(
    overlay: &mut Overlay<'_>,
    seconds: u64,
    doubt: Option<DoubtedClock>,
) -> Result<(), StoreError> {
    overlay.put(Table::Ledger, LATEST, &Latest { seconds })?;
    match doubt {
        Some(doubt) => overlay.put(Table::Ledger, DOUBTS, &doubt),
        None => overlay.remove(Table::Ledger, DOUBTS),
    }
}
