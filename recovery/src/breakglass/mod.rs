//! Total loss, and back: what a wallet that has only its root key starts from.
//!
//! | file | concept |
//! | --- | --- |
//! | `cell` | 256 bytes in a store of their own, at a key that follows from the root key |
//! | `page` | a blob that the cell names: other tokens, other providers |
//! | [`calls`](PutCell) | writing a cell, which is paid, and opening it, which is not |
//! | [`standing`](Standing) | staying restorable: the reserve, the page and the cell, once an epoch |
//! | `due` | when each of these is written |
//! | [`restore`](Restore) | cell, tokens, page, anchor, snapshot, log |
//! | `kept` | what a restore has paid for, so that it pays for it once |
//!
//! # What it promises
//!
//! * **The root key is enough**, with any one provider's address, as long as the reserve is of an epoch
//!   that the storage node accepts: for as many epochs behind the last cell as its terms say.
//!   [`Provider::restorable`](crate::Provider::restorable) says for how many, and how often the reserve
//!   pays for it. Past that, the data is there for whoever buys tokens.
//! * **What is set aside stays aside.** The reserve pays for nothing else, not even for the last
//!   operation of a wallet that runs out of tokens.
//! * **No operation is tied to another.** The reserve is only ever reissued, and what a page lists is
//!   transferred before it pays. A restore shows both with exchanges, follows reissues and goes no
//!   further (`purse::redeem`). So it does not find what was in use since the page was written, four pairs
//!   or so at most, because more operations run at once only with what is off the page, unless it [walks](Restore::walking), which ties what it finds
//!   together.
//! * **A crash costs no token**, at any step, as long as the two journals are there.
//!
//! # How it fails
//!
//! Whoever opens the cell dooms it: the storage node deletes it after the time that its terms name. A
//! restored wallet writes another one at once, but for a pause. Two wallets with one root key, or a
//! restore beside a wallet that is not lost after all, take tokens from each other and nothing else:
//! each purse finds what its credentials were replaced by, and the log has one writer. Two devices that
//! bought tokens of their own write over each other's cell: a restore finds the data, and the tokens of
//! the device that wrote last. Those of another one that is lost, too, are lost with it.
//!
//! A storage node can give an older cell than the newest. It learns nothing by that, and the restore
//! ends with [`ReserveTaken`](crate::RecoveryError::ReserveTaken).

mod calls;
mod cell;
mod due;
mod kept;
mod page;
mod restore;
mod standing;

pub use calls::PutCell;
pub(crate) use cell::Contents;
pub(crate) use kept::Kept;
pub(crate) use page::{CREDENTIALS_MAX, Page};
pub use restore::{Progress, Restore, Stage};
pub use standing::{Extent, Restorable, Standing, Wrote};

/// How often a reserve pays for a restore; with few tokens it may be once.
const TIMES: u64 = 2;
