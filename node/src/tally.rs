//! Plain numbers of what was asked and how it ended; nothing that could name a client.

use std::sync::atomic::{AtomicU64, Ordering};

use larder_protocol::{Op, Refusal};

/// One number.
#[derive(Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many do something at the same time, at most.
#[derive(Default)]
pub(crate) struct Crowd {
    now: AtomicU64,
    most: AtomicU64,
}

impl Crowd {
    /// Does the work as one of them.
    pub(crate) fn with<T>(&self, work: impl FnOnce() -> T) -> T {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        let done = work();
        self.now.fetch_sub(1, Ordering::Relaxed);
        done
    }

    pub(crate) fn most(&self) -> u64 {
        self.most.load(Ordering::Relaxed)
    }
}

/// Requests by what was asked, by why payment was refused, and what was dropped.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) info: Count,
    pub(crate) inserts: Count,
    pub(crate) deletes: Count,
    pub(crate) lookups: Count,
    pub(crate) puts: Count,
    pub(crate) opens: Count,
    pub(crate) opens_unread: Count,
    pub(crate) exchanges: Count,
    pub(crate) quotes: Count,
    pub(crate) purchases: Count,
    pub(crate) malformed: Count,
    pub(crate) shed: Count,
    pub(crate) verified: Count,
    pub(crate) batches: Count,
    pub(crate) verifying: Crowd,
    pub(crate) replayed: Count,
    pub(crate) unpaid: Count,
    pub(crate) wrong_price: Count,
    pub(crate) wrong_epoch: Count,
    pub(crate) bad_proof: Count,
    pub(crate) already_spent: Count,
}

impl Tally {
    /// A request that was read.
    pub(crate) fn asked(&self, op: Op) {
        match op {
            Op::Info => &self.info,
            Op::Insert => &self.inserts,
            Op::Delete => &self.deletes,
            Op::Lookup => &self.lookups,
            Op::BreakglassPut => &self.puts,
            Op::BreakglassOpen => &self.opens,
            Op::Transfer | Op::Reissue => &self.exchanges,
            Op::Quote => &self.quotes,
            Op::Purchase => &self.purchases,
        }
        .one();
    }

    /// A payment that was refused.
    pub(crate) fn refused(&self, refusal: &Refusal) {
        match refusal {
            Refusal::WrongPrice { .. } => self.wrong_price.one(),
            Refusal::WrongEpoch { .. } => self.wrong_epoch.one(),
            Refusal::BadProof => self.bad_proof.one(),
            Refusal::AlreadySpent { .. } | Refusal::AlreadyClaimed => self.already_spent.one(),
            _ => {}
        }
    }
}
