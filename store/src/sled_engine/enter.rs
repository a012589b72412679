//! Entering an epoch: a fresh index is written beside the old one, see [`rewrite`], and takes its
//! place by one rename.
//!
//! What fails before the rename leaves the epoch before in force. What fails in it stops the engine,
//! for the disk may be in either epoch.

use std::sync::{Arc, PoisonError};

use larder_credentials::ledger::Past;

use super::{Shown, SledEngine, Writer};
use crate::folder;
use crate::index::Index;
use crate::rewrite;
use crate::{Enter, Epochs, StoreError};

impl SledEngine {
    /// Enters an epoch; nobody else holds the writer.
    pub(super) fn enter_alone(
        &self,
        writer: &mut Writer,
        next: Enter,
    ) -> Result<Result<Epochs, Past>, StoreError> {
        let mut unpaid = writer.unpaid.clone();
        let plan = match rewrite::plan(&self.index(), &mut unpaid, next)? {
            Ok(plan) => plan,
            Err(past) => return Ok(Err(past)),
        };
        // Half a copy would take room from deletes, which need it now.
        let (needed, free) = (self.index_bytes()?, self.free_bytes()?);
        if let Some(missing) = needed.checked_sub(free).filter(|missing| *missing > 0) {
            return Err(StoreError::NoRoom { missing });
        }
        // Never the folder of an attempt before: sled writes by path.
        writer.generation = writer.generation.next();
        let folder = writer.generation.folder(&self.folder);
        let copied = Index::open(&folder, self.options.cache_bytes, Arc::clone(&self.medium))
            .and_then(|fresh| Ok((plan.copy(&self.index(), &fresh)?, fresh)));
        let (books, fresh) = match copied {
            Ok(copied) => copied,
            Err(error) => {
                // Nothing names it. If it cannot be removed, the next opening will.
                let _ = self.medium.remove_folder(&folder);
                return Err(error);
            }
        };
        let shown = Shown::of(&fresh, &books)?;

        // Whatever happens before this is taken back, the disk may be in either epoch.
        writer.stopped = true;
        folder::switch(&self.folder, writer.generation, &*self.medium)?;
        self.slots.witness(books.commits)?;
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *index, fresh);
        drop(index);
        self.show(shown);
        writer.books = books;
        writer.unpaid = unpaid;
        writer.stopped = false;

        let folder = old.folder().to_owned();
        old.close()?;
        self.medium
            .remove_folder(&folder)
            .map_err(StoreError::io("remove the former index"))?;
        Ok(Ok(plan.epochs))
    }
}
