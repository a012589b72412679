//! How a session ends: what it tidies up, what it tells, and what the device remembers of it.
//!
//! What it wrote is stored by then, so [`Session::finish`] cannot fail: it warns at worst.

use larder_protocol::ServerKey;
use larder_recovery::breakglass::Extent;

use super::Session;

use crate::connection::Bill;
use crate::error::CliError;
use crate::standing::Standing;
use crate::wallet::known::Owed;
use crate::wallet::{Wallet, provider_list};

/// Registers of a generation after which it is rolled up: what some sixteen commands write.
const ROLL_UP_AT: u64 = 16 * 2;

/// Blobs of a value that a command replaced or deleted after which it is, too.
const ROLL_UP_FOR: u64 = 16;

/// Deletes between two looks at what is left to delete.
const DELETES: usize = 64;

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

    /// Ends a session that wrote: brings all storage nodes up to date in what it wrote, and shortens a log that has
    /// become long. What is stored is stored, whatever comes of this; so it warns at worst.
    pub(crate) async fn finish(mut self, wallet: &mut Wallet) -> (Bill, Vec<String>) {
        let tidied = self.tidy(wallet).await.err();
        let caught_up = match self.online.members.len() {
            1 => None,
            _ => self.quorum.catch_up().await.err().map(CliError::from),
        };
        let known = wallet.known.get_or_insert_default();
        known.wrote_as(self.map.log().writer());
        if let (None, None) = (&tidied, &caught_up) {
            let log = self.map.log();
            let missed = self.missed_deletes();
            known.tidied(log.generation(), self.owed == Owed::Away, missed);
        }
        let failed = [tidied, caught_up].into_iter().flatten();
        let mut warnings: Vec<String> = failed
            .map(|error| {
                format!("it is stored; tidying up behind it failed, the next command goes on with it: {error}")
            })
            .collect();
        warnings.extend(self.troubles());
        warnings.extend(self.unrestorable());
        let (bill, unwritten) = self.end(wallet).await;
        warnings.extend(unwritten.iter().map(unwritten_warning));
        (bill, warnings)
    }

    /// Those that have to be told again what was deleted.
    fn missed_deletes(&self) -> impl Iterator<Item = ServerKey> {
        let members = self.online.members.iter().zip(self.quorum.undeleted());
        let missed = members.filter(|(_, undeleted)| *undeleted > 0);
        missed.map(|(member, _)| *member.address.server_key())
    }

    async fn tidy(&mut self, wallet: &mut Wallet) -> Result<(), CliError> {
        let log = self.map.log();
        if self.owed != Owed::Away {
            let known = wallet.known.get_or_insert_default();
            for unfinished in known.left_by_others(log.writer()) {
                self.map.abandon(unfinished)?;
            }
        }
        if self.owed == Owed::Here {
            let is_missed = || self.missed_deletes().next().is_some();
            // An error comes again below, behind a roll-up that nothing keeps from being done.
            if let Ok(false) = log.repeat(is_missed).await {
                // Who misses them again is as good as away.
                self.owed = Owed::Away;
            }
        }
        if log.length() >= ROLL_UP_AT || self.freed >= ROLL_UP_FOR {
            self.begin(wallet, self.map.unfinished(1, self.map.snapshot_len()))?;
            self.map.roll_up().await?;
        }
        // This program ends now, so nothing is spread over time; the order is shuffled.
        while log.upkeep(DELETES).await? {}
        Ok(())
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
