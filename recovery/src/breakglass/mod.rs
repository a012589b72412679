//! Total loss, and back: what a wallet that has only its root key starts from.

mod calls;
mod cell;
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
