//! [`Storage`] in memory (§7), for tests and benchmarks. Nothing survives the process.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Claim, Floor, Reads, Storage, Supply, Transaction, Writes};
use crate::epoch::Epoch;
use crate::operation::{ClaimTag, Reference};
use crate::row::Row;

#[derive(Debug, Default, Clone)]
struct State {
    rows: HashMap<Reference, Row>,
    claims: HashMap<ClaimTag, Claim>,
    supply: Supply,
    floor: Option<Floor>,
}

/// The tables of §7 behind one lock: transactions are serial.
#[derive(Debug, Default)]
pub struct Memory(Mutex<State>);

impl Memory {
    /// Empty tables.
    #[must_use]
    pub fn new() -> Self {
        Memory::default()
    }

    /// The number of references under which rows are stored.
    #[must_use]
    pub fn references(&self) -> usize {
        self.lock().rows.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A transaction changes the state in one step, so a panic elsewhere leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tables as they are now, as a backup has them.
impl Clone for Memory {
    fn clone(&self) -> Self {
        Memory(Mutex::new(self.lock().clone()))
    }
}

impl Storage for Memory {
    type Error = Infallible;
    type Transaction<'s> = MemoryTransaction<'s>;

    fn begin(&self) -> Result<MemoryTransaction<'_>, Infallible> {
        Ok(MemoryTransaction {
            state: self.lock(),
            rows: HashMap::new(),
            claims: HashMap::new(),
            supply: None,
            oldest: None,
            floor: None,
        })
    }
}

/// Holds the lock; collects writes until it is committed.
#[derive(Debug)]
pub struct MemoryTransaction<'s> {
    state: MutexGuard<'s, State>,
    rows: HashMap<Reference, Row>,
    claims: HashMap<ClaimTag, Option<Claim>>,
    supply: Option<Supply>,
    oldest: Option<Epoch>,
    floor: Option<Floor>,
}

impl Reads for MemoryTransaction<'_> {
    type Error = Infallible;

    fn row(&mut self, reference: &Reference) -> Result<Option<Row>, Infallible> {
        let row = self.rows.get(reference).or_else(|| {
            let stored = self.state.rows.get(reference);
            stored.filter(|row| self.oldest.is_none_or(|oldest| row.out_epoch() >= oldest))
        });
        Ok(row.cloned())
    }

    fn floor(&mut self) -> Result<Option<Floor>, Infallible> {
        Ok(self.floor.or(self.state.floor))
    }

    fn claim(&mut self, tag: &ClaimTag) -> Result<Option<Claim>, Infallible> {
        Ok(match self.claims.get(tag) {
            Some(claim) => *claim,
            None => self.state.claims.get(tag).copied(),
        })
    }

    fn supply(&mut self) -> Result<Supply, Infallible> {
        Ok(self.supply.unwrap_or(self.state.supply))
    }
}

impl Writes for MemoryTransaction<'_> {
    fn insert_row(&mut self, row: &Row) -> Result<(), Infallible> {
        for reference in row.references().iter() {
            self.rows.insert(reference, row.clone());
        }
        Ok(())
    }

    fn drop_rows_before(&mut self, oldest: Epoch) -> Result<(), Infallible> {
        self.rows.retain(|_, row| row.out_epoch() >= oldest);
        self.oldest = self.oldest.max(Some(oldest));
        Ok(())
    }

    fn put_floor(&mut self, floor: Floor) -> Result<(), Infallible> {
        self.floor = Some(floor);
        Ok(())
    }

    fn put_claim(&mut self, tag: &ClaimTag, claim: Claim) -> Result<(), Infallible> {
        self.claims.insert(*tag, Some(claim));
        Ok(())
    }

    fn drop_claim(&mut self, tag: &ClaimTag) -> Result<(), Infallible> {
        self.claims.insert(*tag, None);
        Ok(())
    }

    fn put_supply(&mut self, supply: Supply) -> Result<(), Infallible> {
        self.supply = Some(supply);
        Ok(())
    }
}

impl Transaction for MemoryTransaction<'_> {
    fn commit(mut self) -> Result<(), Infallible> {
        if let Some(oldest) = self.oldest {
            self.state.rows.retain(|_, row| row.out_epoch() >= oldest);
        }
        if self.floor.is_some() {
            self.state.floor = self.floor;
        }
        self.state.rows.extend(self.rows.drain());
        for (tag, claim) in self.claims.drain() {
            match claim {
                Some(claim) => self.state.claims.insert(tag, claim),
                None => self.state.claims.remove(&tag),
            };
        }
        if let Some(supply) = self.supply {
            self.state.supply = supply;
        }
        Ok(())
    }
}
