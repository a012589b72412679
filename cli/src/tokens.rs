//! What the tokens of a wallet are good for, as results say it.

use larder_recovery::Holdings;
use serde_json::{Value, json};

use crate::connection::{Connection, used_elsewhere};
use crate::output::count;
use crate::payer::now;

const DAY: u64 = 24 * 60 * 60;

/// What a purse holds, under the terms of its storage node.
pub(crate) struct Tokens {
    pub(crate) holdings: Holdings,
    /// Unix seconds, when this was so.
    pub(crate) now: u64,
    inserts: u64,
    lookups: u64,
    /// Of epochs that the next one refuses.
    ending: u64,
    /// For how many seconds they are safe, as the storage node has signed, if nobody looks after them; nothing when some may
    /// end at any time.
    safe_for: Option<u64>,
    /// When the next ones are moved to a new epoch, unix seconds.
    pub(crate) next_reissue: Option<u64>,
    /// Why they could not be looked after.
    problem: Option<String>,
}

impl Tokens {
    /// `None` where nothing is to be paid.
    pub(crate) fn of(connection: &Connection) -> Option<Self> {
        let holdings = connection.holdings()?;
        let record = connection.provider.record();
        let tariff = record.tariff?;
        let takes = u32::from(tariff.next_takes);
        let last = record.epoch.saturating_sub(takes);
        let ending = holdings.by_epoch.range(..=last).map(|(_, tokens)| tokens);
        let ending = ending.sum();
        // The current epoch may end at any time, and what the one after the next takes is not said yet.
        let oldest = holdings.by_epoch.keys().next();
        let lasts = oldest.is_some_and(|oldest| *oldest > last);
        Some(Tokens {
            now: now(),
            inserts: holdings.suffice_for(tariff.prices.insert),
            lookups: holdings.suffice_for(tariff.prices.lookup),
            ending,
            safe_for: lasts.then(|| record.epoch_seconds.into()),
            next_reissue: connection.upkeep.as_ref().ok().and_then(|done| done.next),
            problem: connection.upkeep.as_ref().err().map(ToString::to_string),
            holdings,
        })
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "tokens": self.holdings.tokens,
            "suffice_for": { "inserts": self.inserts, "lookups": self.lookups },
            "safe_until": self.safe_for.map(|seconds| self.now + seconds),
            "ending": self.ending,
            "expired": self.holdings.expired,
            "alone": self.holdings.alone,
            "elsewhere": self.holdings.elsewhere,
            "problem": self.problem,
        })
    }

    pub(crate) fn text(&self) -> String {
        let safe = match self.safe_for {
            Some(seconds) if seconds >= DAY => {
                format!(
                    "; run larder again within {} day(s) to keep them",
                    seconds / DAY
                )
            }
            Some(seconds) => format!("; run larder again within {seconds} seconds to keep them"),
            None => String::new(),
        };
        format!(
            "{} tokens: enough to store {} blob(s) or to read {}{safe}",
            count(self.holdings.tokens),
            count(self.inserts),
            count(self.lookups)
        )
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(problem) = &self.problem {
            warnings.push(format!("tokens in flight could not be settled: {problem}"));
        }
        if self.ending > 0 {
            warnings.push(format!(
                "{} tokens expire when the storage node's epoch ends: run larder again soon",
                count(self.ending)
            ));
        }
        if self.holdings.expired > 0 {
            warnings.push(format!(
                "{} tokens have expired, because larder had not run for too long",
                count(self.holdings.expired)
            ));
        }
        if let Some(tokens) = self.holdings.elsewhere {
            warnings.push(used_elsewhere(tokens));
        }
        if self.holdings.alone > 0 {
            warnings.push(format!(
                "{} more tokens may be there and cannot be spent: a restore found half of a pair whose other \
                 half was in use",
                count(self.holdings.alone)
            ));
        }
        warnings
    }
}
