//! A node whose disk others have filled.

use std::io;
use std::sync::Arc;

use larder_credentials::ledger::{Past, Supply};
use larder_credentials::{ClaimTag, Reference, Row};
use larder_node::{Desk, Identity};
use larder_protocol::{Done, Key};
use larder_store::{
    Change, Effect, Engine, Enter, Epochs, Notes, OpenedClaim, Outcome, Reading, SledEngine, Stat,
    StoreError, StoredCell, Usage,
};

use crate::scene::*;

/// A store without a free byte. A delete finds its room in what is there already; a note would find none, and nothing
/// could be written after that.
struct Full(Arc<SledEngine>);

impl Engine for Full {
    fn commit(&self, batch: Vec<Effect>) -> Result<Vec<Outcome>, StoreError> {
        let notes = |effect: &Effect| matches!(effect.change, Change::NoteTime { .. });
        if batch.iter().any(notes) {
            return Err(StoreError::Io {
                doing: "read or write the index",
                source: io::ErrorKind::StorageFull.into(),
            });
        }
        self.0.commit(batch)
    }

    fn usage(&self) -> Result<Usage, StoreError> {
        let usage = self.0.usage()?;
        Ok(Usage {
            free_bytes: 0,
            ..usage
        })
    }

    fn read(&self, key: &Key) -> Result<Reading, StoreError> {
        self.0.read(key)
    }

    fn stat(&self, key: &Key) -> Result<Stat, StoreError> {
        self.0.stat(key)
    }

    fn cell(&self, key: &Key, now: u64) -> Result<Option<StoredCell>, StoreError> {
        self.0.cell(key, now)
    }

    fn row(&self, reference: &Reference) -> Result<Option<Row>, StoreError> {
        self.0.row(reference)
    }

    fn claim(&self, tag: &ClaimTag) -> Result<Option<OpenedClaim>, StoreError> {
        Engine::claim(&*self.0, tag)
    }

    fn supply(&self) -> Result<Supply, StoreError> {
        Engine::supply(&*self.0)
    }

    fn epochs(&self) -> Result<Option<Epochs>, StoreError> {
        self.0.epochs()
    }

    fn notes(&self) -> Result<Notes, StoreError> {
        self.0.notes()
    }

    fn enter(&self, next: Enter) -> Result<Result<Epochs, Past>, StoreError> {
        self.0.enter(next)
    }
}

#[test]
fn on_a_full_disk_a_node_starts_and_serves_look_ups_and_deletes() {
    let mut scene = scene_without_sale();
    assert_eq!(scene.free(insert(1, 1)), Ok(Done::Inserted));
    let (full, identity) = (Full(scene.engine.clone()), Identity::from_seed(SEED));
    let clock = scene.clock.clone();
    scene.desk = Desk::open(Arc::new(full), identity, None, BREAKGLASS, clock).unwrap();
    assert_eq!(scene.free(lookup(1)), Ok(Done::Found(blob(1))));
    let removal = delete(&scene, 1);
    assert_eq!(scene.free(removal), Ok(Done::Removed));
}
