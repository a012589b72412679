//! How a session ends: what it tidies up, what it tells, and what the device remembers of it.
//!
//! What it wrote is stored by then, so [`Session::finish`] cannot fail: it warns at worst.

use larder_recovery::breakglass::Extent;
use larder_recovery::log::{Registers, pace};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::Session;

use crate::connection::Bill;
use crate::error::CliError;
use crate::output::count;
use crate::standing::Standing;
use crate::wallet::{Wallet, delete_one, provider_list};

/// Registers of a generation after which it is rolled up: what some sixteen commands write.
const ROLL_UP_AT: u64 = 16 * 2;

/// Blobs of a value that a command replaced or deleted after which it is, too.
const ROLL_UP_FOR: u64 = 16;

/// So many registers wait to be deleted where an upkeep runs once a day.
const MANY: u64 = 256;

fn many_warning(due: u64) -> String {
    format!(
        "{} blobs wait to be deleted, and give back less the longer they wait: `larder upkeep` deletes the larger part \
         of them; it is made to run once a day",
        count(due)
    )
}

/// What a command says that could not write down something about what is stored.
pub(crate) fn unwritten_warning(error: &CliError) -> String {
    format!("it is stored; what this device keeps about it could not be written: {error}")
}

impl Session {
    /// What is not as it should be with some storage node, while enough others are fine.
    pub(crate) fn troubles(&self) -> Vec<String> {
        let troubles = self.quorum.troubles();
        let numbered = self.online.members.iter().zip(troubles).zip(1..);
        let told = numbered.filter_map(|((member, trouble), number)| {
            let trouble = match (&member.connected, trouble) {
                (Err(error), _) => error.to_string(),
                (_, Some(error)) => CliError::from(error).to_string(),
                _ => return None,
            };
            Some(format!(
                "storage node {number} may be behind: {trouble}; `larder providers heal` brings it up to date"
            ))
        });
        match self.online.members.len() {
            1 => Vec::new(),
            _ => told.collect(),
        }
    }

    /// Whether this would survive the loss of the folder, tokens included.
    pub(crate) fn is_restorable(&self) -> bool {
        let extent = Extent::of(&self.map, Vec::new());
        let standings = self.online.connected();
        let standings = standings.filter_map(|there| Standing::of(there, Some(&extent)));
        let able = standings.filter(|standing| standing.is_now()).count();
        able >= self.online.policy().recover
    }

    /// What there is to be done if it would not; not behind a write, where
    /// the storage nodes would see it come together with that ([`standing`](crate::standing)).
    pub(crate) fn unrestorable(&self) -> Option<String> {
        (!self.is_restorable()).then(|| {
            "a restore from the words alone would lack tokens, or not find them: see `larder status`"
                .to_owned()
        })
    }

    /// Ends a session that wrote: shortens a log that has become long, deletes one of what is due, and brings all storage
    /// nodes up to date. What is stored is stored, whatever comes of this; so it warns at worst.
    pub(crate) async fn finish(mut self, wallet: &mut Wallet) -> (Bill, Vec<String>) {
        let tidied = self.tidy(wallet).await.err();
        let mut due = self.map.log().take_due();
        let one = !self.waits && due.count() > 0 && pace::one(&mut rng());
        let deleted = match one {
            true => delete_one(&mut due, self.registers(), &self.quorum).await,
            false => Ok(false),
        };
        let deleted = deleted.err().map(CliError::from);
        let caught_up = match self.online.members.len() {
            1 => None,
            _ => self.quorum.catch_up().await.err().map(CliError::from),
        };
        let known = wallet.known.get_or_insert_default();
        known.wrote_as(self.map.log().writer());
        let missed = one.then(|| self.online.missed_deletes(&self.quorum).collect());
        known.leave(&due, missed);
        let many = (due.count() > MANY).then(|| many_warning(due.count()));
        if tidied.is_none() {
            known.found_unfinished();
        }
        self.map.log().resume(due);
        let failed = [tidied, deleted, caught_up].into_iter().flatten();
        let mut warnings: Vec<String> = failed
            .map(|error| {
                format!("it is stored; tidying up behind it failed, the next command goes on with it: {error}")
            })
            .collect();
        warnings.extend(self.troubles());
        warnings.extend(self.unrestorable());
        warnings.extend(many);
        let (bill, unwritten) = self.end(wallet).await;
        warnings.extend(unwritten.iter().map(unwritten_warning));
        (bill, warnings)
    }

    async fn tidy(&mut self, wallet: &mut Wallet) -> Result<(), CliError> {
        let log = self.map.log();
        let known = wallet.known.get_or_insert_default();
        for unfinished in known.left_by_others(log.writer()) {
            self.map.abandon(unfinished)?;
        }
        if log.length() >= ROLL_UP_AT || self.freed >= ROLL_UP_FOR {
            if self.waits {
                // Who never comes back is not waited for with a list without end.
                log.put_off();
            }
            let size = self.map.snapshot_len();
            self.begin(wallet, self.map.unfinished(1, size))?;
            self.online.limit(|record| {
                let price = larder_recovery::price_in_map(record, size, 0);
                price.map(|price| price.store)
            });
            let rolled_up = self.map.roll_up().await;
            self.online.limit_each(None);
            rolled_up?;
        }
        Ok(())
    }

    /// What this session reads and deletes through.
    fn registers(&self) -> &dyn Registers {
        match &self.cached {
            Some(cached) => cached.as_ref(),
            None => self.quorum.as_ref(),
        }
    }

    /// Ends a session, and remembers what it has learned.
    pub(crate) async fn close(self, wallet: &mut Wallet) -> Result<Bill, CliError> {
        let (bill, unwritten) = self.end(wallet).await;
        unwritten.into_iter().next().map_or(Ok(bill), Err)
    }

    /// The same; returns what could not be written down. That one file cannot be keeps no other one back.
    async fn end(self, wallet: &mut Wallet) -> (Bill, Vec<CliError>) {
        let values = self.values("");
        let named = provider_list::read(&self.map).await.ok().flatten();
        let named = named.filter(|named| named.list == self.list());
        let known = wallet.known.get_or_insert_default();
        if let Some(cached) = &self.cached
            && !known.is_at(self.map.log().generation())
        {
            // What was deleted of older ones is not asked for again.
            let due = self.map.log().due();
            cached.retain(self.map.slots().chain(due));
        }
        known.list = named.map_or(self.list, |named| named.version);
        known.learn(&self.map, &self.online);
        known.values = values.len() as u64;
        known.bytes = values.iter().map(|value| value.size).sum();
        let mut unwritten = Vec::from_iter(wallet.save().err());
        let Session {
            online,
            quorum,
            cached,
            map,
            ..
        } = self;
        // They hold the providers.
        drop((map, cached, quorum));
        online.tend().await;
        let (bill, failed) = online.leave().await;
        unwritten.extend(failed);
        (bill, unwritten)
    }
}

fn rng() -> StdRng {
    StdRng::from_os_rng()
}
