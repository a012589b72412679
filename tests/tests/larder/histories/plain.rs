//! What a plain book says: tokens by wallet, keys by what is under them, and nothing that a ledger
//! with proofs would know better.
//!
//! It is told of each request that took effect, once, and knows the price list. Everything else in
//! these tests has to agree with it.

use std::collections::{HashMap, HashSet};

use larder_protocol::{Call, Key, Request};
use larder_store::Outcome;

pub(crate) const INSERT: u64 = 16;
pub(crate) const LOOKUP: u64 = 2;
pub(crate) const DELETE: u64 = 1;
pub(crate) const FEE: u64 = 3;
pub(crate) const REFUNDS: [u64; 3] = [8, 6, 4];
/// Tokens of a claim.
pub(crate) const CLAIM: u64 = 60;
/// Earlier epochs that are accepted.
pub(crate) const EARLIER: u32 = 2;

/// What is under a key, with how many epochs had been entered then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Under {
    Blob { since: u32 },
    Tombstone { since: u32 },
}

/// The accounts of one history.
#[derive(Default)]
pub(crate) struct Book {
    pub(crate) keys: HashMap<Key, Under>,
    /// Tokens of each wallet.
    pub(crate) tokens: HashMap<usize, u64>,
    /// Tokens that no epoch accepts any more.
    pub(crate) lost: u64,
    /// Claims that each wallet has collected.
    pub(crate) claims: HashMap<usize, u64>,
    /// How often each call was paid for.
    pub(crate) performed: HashMap<[u8; 32], u32>,
    /// Requests that took effect, as they were sent.
    requests: HashSet<Vec<u8>>,
}

impl Book {
    /// A request of this wallet has taken effect; `entered` counts the epochs.
    pub(crate) fn enter(
        &mut self,
        wallet: usize,
        request: &Request,
        outcome: &Outcome,
        entered: u32,
    ) {
        assert!(
            self.requests.insert(request.encode()),
            "a request took effect twice"
        );
        let (cost, back) = match (&request.call, outcome) {
            (Call::Insert(insert), Outcome::Inserted) => {
                let under = self.keys.insert(insert.key, Under::Blob { since: entered });
                let free = match under {
                    None => true,
                    Some(Under::Blob { .. }) => false,
                    // Tombstones go with the credentials of their epoch.
                    Some(Under::Tombstone { since }) => entered - since > EARLIER,
                };
                assert!(free, "inserted over {under:?} in {entered}");
                (INSERT, 0)
            }
            // It was refused, which costs as much as looking.
            (Call::Insert(_), Outcome::Settled) => (LOOKUP, 0),
            (Call::Delete(delete), Outcome::Removed) => {
                let tombstone = Under::Tombstone { since: entered };
                let Some(Under::Blob { since }) = self.keys.insert(delete.key, tombstone) else {
                    panic!("removed what was not there");
                };
                let age = (entered - since) as usize;
                (DELETE, REFUNDS.get(age).copied().unwrap_or_default())
            }
            (Call::Delete(_), Outcome::Settled) => (DELETE, 0),
            (Call::Lookup(_), Outcome::Settled) => (LOOKUP, 0),
            (Call::Transfer, Outcome::Settled) => (FEE, 0),
            (Call::Reissue, Outcome::Settled) => (0, 0),
            (Call::Purchase, Outcome::Settled) => {
                *self.claims.entry(wallet).or_default() += 1;
                (0, CLAIM)
            }
            other => panic!("no such effect: {:?}", other.1),
        };
        *self.performed.entry(request.call.digest()).or_default() += 1;
        let tokens = self.tokens.entry(wallet).or_default();
        *tokens = tokens.checked_sub(cost).expect("paid with what is there") + back;
    }

    /// How often a call was paid for.
    pub(crate) fn paid_for(&self, call: &Call) -> u32 {
        self.performed.get(&call.digest()).copied().unwrap_or(0)
    }

    pub(crate) fn tokens_of(&self, wallet: usize) -> u64 {
        self.tokens.get(&wallet).copied().unwrap_or(0)
    }

    pub(crate) fn claims_of(&self, wallet: usize) -> u64 {
        self.claims.get(&wallet).copied().unwrap_or(0)
    }

    /// This wallet has stayed away for too long.
    pub(crate) fn expire(&mut self, wallet: usize) {
        self.lost += self.tokens.remove(&wallet).unwrap_or(0);
    }

    /// Tokens that the node has to count as outstanding: the lost ones too.
    pub(crate) fn outstanding(&self) -> u64 {
        self.tokens.values().sum::<u64>() + self.lost
    }
}
