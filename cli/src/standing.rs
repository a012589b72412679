//! Whether everything could be restored from the root key alone, and what keeps it so.
//!
//! A process per command cannot wait for a time that nobody can tell. So the cell is written by the first `larder buy`,
//! which stores nothing else; by `larder upkeep`, which somebody runs now and then; and by `larder restore`, at its end:
//! opening the cell has shown already whose look-ups came behind it. No other command that reads or writes values does it
//! beside that: the storage node would see the cell and those operations come together.

use larder_recovery::breakglass::{Extent, Restorable, Wrote};
use larder_recovery::{Provider, RecoveryError};
use serde_json::{Value, json};

use crate::connection::Connection;
use crate::output::count;
use crate::payer::now;

/// Look-ups that the reserve is larger by than what is stored takes: a cell is written once per epoch, and the wallet
/// grows meanwhile.
const ROOM: u64 = 128;

/// Things that can be due at one time, and then some.
const ROUNDS: u32 = 16;

/// Whether it could be restored with one storage node.
#[derive(Clone, Copy)]
pub(crate) enum Standing {
    /// It asks for nothing.
    Free,
    /// What is stored is not known on this device, or not all of it is taken: a restore is not over.
    Unknown,
    /// As far as its tokens go.
    Reserve(Restorable),
}

impl Standing {
    /// `None` where nobody can tell. Without an extent nothing is known of what is stored.
    pub(crate) fn of(connection: &Connection, extent: Option<&Extent>) -> Option<Self> {
        let Some(extent) = extent else {
            return Some(Standing::Unknown);
        };
        if connection.provider.record().tariff.is_none() {
            return Some(Standing::Free);
        }
        let is = connection.provider.restorable(extent).ok()?;
        Some(Standing::Reserve(is))
    }

    pub(crate) fn is_now(self) -> bool {
        match self {
            Standing::Free => true,
            Standing::Unknown => false,
            Standing::Reserve(is) => is.is_now(),
        }
    }

    pub(crate) fn json(self) -> Value {
        let (times, epochs) = match self {
            Standing::Reserve(is) => (Some(is.times), is.epochs),
            Standing::Free | Standing::Unknown => (None, None),
        };
        json!({ "now": self.is_now(), "times": times, "epochs": epochs, "why_not": self.why_not() })
    }

    /// Behind "restorable".
    pub(crate) fn text(self) -> String {
        match (self.why_not(), self) {
            (Some(why_not), _) => format!("no: {why_not}"),
            (None, Standing::Reserve(is)) => {
                let expires = match is.epochs.unwrap_or(0) {
                    0 => "expires when the present epoch ends".to_owned(),
                    1 => "expires in 1 epoch by the present terms".to_owned(),
                    epochs => format!("expires in {epochs} epochs by the present terms"),
                };
                format!("yes: {} times covered, {expires}", count(is.times))
            }
            (None, _) => "yes: nothing is to be paid".to_owned(),
        }
    }

    /// Why it could not be, and what to do.
    fn why_not(self) -> Option<&'static str> {
        match self {
            Standing::Unknown => Some("not everything is here yet: run `larder restore`"),
            Standing::Reserve(is) if is.epochs.is_none() => Some(
                "no cell with a reserve was written yet, or that has expired: `larder upkeep` writes one \
                 behind a pause, `larder upkeep --at-once` now, or says how many tokens are missing for it",
            ),
            Standing::Reserve(is) if is.times == 0 => Some(
                "what is stored has outgrown the reserve: `larder upkeep` sets more aside in the next epoch",
            ),
            Standing::Free | Standing::Reserve(_) => None,
        }
    }
}

/// What staying restorable took.
pub(crate) struct Stayed {
    pub(crate) wrote: Vec<Wrote>,
    /// Tokens that a reserve lacks.
    pub(crate) missing: u64,
    /// When something is due again, at the latest, in unix seconds.
    pub(crate) next: u64,
}

/// Does what is due now; or at once whatever is to come before a cell is there, without the pauses, for a wallet
/// that could not be restored.
pub(crate) async fn stay(
    provider: &Provider,
    extent: &Extent,
    at_once: bool,
) -> Result<Stayed, RecoveryError> {
    let larger = Extent {
        lookups: extent.lookups.saturating_add(ROOM),
        ..extent.clone()
    };
    let mut clock = now();
    let mut stayed = Stayed {
        wrote: Vec::new(),
        missing: 0,
        next: clock,
    };
    for _ in 0..ROUNDS {
        let standing = provider.stay_restorable(clock, &larger).await?;
        stayed.wrote.extend(standing.wrote);
        stayed.missing = standing.missing;
        stayed.next = standing.next;
        let restorable = provider.restorable(extent)?.is_now();
        let done = match at_once {
            true => restorable || standing.missing > 0,
            false => standing.next > clock,
        };
        if done {
            break;
        }
        // The pauses are for the storage node's eyes; beside them only moves from older epochs go by this clock.
        clock = clock.max(standing.next);
    }
    Ok(stayed)
}

/// Makes a wallet restorable at once, if it is not; returns whether it is then. [`RecoveryError::OutOfTokens`] while
/// tokens are missing for a reserve.
pub(crate) async fn make_restorable(
    provider: &Provider,
    extent: &Extent,
) -> Result<bool, RecoveryError> {
    let mut missing = 0;
    if !provider.restorable(extent)?.is_now() {
        missing = stay(provider, extent, true).await?.missing;
    }
    let is_now = provider.restorable(extent)?.is_now();
    if is_now || missing == 0 {
        return Ok(is_now);
    }
    let held = provider.purse().map_or(0, |purse| purse.holdings().tokens);
    let needed = held.saturating_add(missing);
    Err(RecoveryError::OutOfTokens { needed, held })
}

/// What a write is called in results.
pub(crate) fn name(wrote: Wrote) -> &'static str {
    match wrote {
        Wrote::Drop => "old pages deleted",
        Wrote::Page => "page",
        Wrote::Cell => "cell",
    }
}
