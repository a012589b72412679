//! `larder upkeep`: what is due for the wallet to be restorable from its root key alone, tokens included; and deletes, of
//! which it does a larger part than other commands.
//!
//! It reads nothing that is stored and writes no value, so that what it does comes together with nothing else.
//! Made for a timer, once a day.

use std::sync::Arc;
use std::time::Duration;

use larder_recovery::Provider;
use larder_recovery::breakglass::Extent;
use larder_recovery::log::cache::Cached;
use larder_recovery::log::pace;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::connection::Connection;
use crate::error::CliError;
use crate::output::{Output, count};
use crate::payer::now;
use crate::standing::{self, Standing, Stayed};
use crate::wallet::{Folder, Online, Wallet, delete_one, delete_pauses};

/// All pauses together, about, the shortest and the longest one, in seconds.
const PAUSES: u64 = 240;
const SHORTEST_PAUSE: u64 = 2;
const LONGEST_PAUSE: u64 = 30;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out the pauses, if the wallet could not be restored now: the storage node may guess then that
    /// the cell belongs to what was stored just before
    #[arg(long)]
    at_once: bool,
    /// Delete all that is due, and without pauses, as before a storage node is left: it sees then that those blobs
    /// belong together
    #[arg(long)]
    delete_all: bool,
}

pub(crate) async fn run(args: Args, folder: &Folder, output: &Output) -> Result<(), CliError> {
    let mut wallet = Wallet::open_known(folder)?;
    let list = &wallet.settings.providers;
    let extent = wallet.known.clone().unwrap_or_default().extent(list);
    let mut online = wallet.connect().await?;
    let (mut rows, mut failed) = (Vec::new(), None);
    for (member, number) in online.members.iter_mut().zip(1..) {
        let is_over = !folder.restoring(member.address.server_key()).exists();
        match member.answered() {
            Ok(connection) => {
                match Row::of(number, connection, &extent, is_over, args.at_once, output).await {
                    Ok(row) => {
                        failed = row.short(connection).or(failed);
                        rows.push(row);
                    }
                    Err(error) => failed = Some(error),
                }
            }
            Err(error) => failed = Some(error),
        }
    }
    let several = list.len() > 1;
    // A cell is to come together with nothing that is stored: then deletes wait for another day.
    let wrote = rows.iter().any(|row| !row.wrote().is_empty());
    let amount = match (args.delete_all, wrote) {
        (true, _) => Amount::All,
        (false, true) => Amount::None,
        (false, false) => Amount::Part,
    };
    let deleted = delete_some(&mut wallet, &online, amount, output).await;
    let deleted = deleted.unwrap_or_else(|error| {
        failed = Some(error);
        Deleted::default()
    });
    let able = rows.iter().filter(|row| row.is_restorable()).count();
    if able < online.policy().recover {
        failed.get_or_insert(CliError::NotRestorable);
    }
    let bill = online.close().await?;
    let Deleted { gone, left } = deleted;
    let json = bill.on(json!({
        "providers": rows.iter().map(Row::json).collect::<Vec<_>>(),
        "deleted": gone,
        "to_delete": left,
    }));
    let text = || {
        let mut lines: Vec<String> = rows.iter().map(|row| row.text(several)).collect();
        if gone + left > 0 {
            let (gone, left) = (count(gone), count(left));
            lines.push(format!(
                "deleted {gone} blob(s), {left} to go with later commands"
            ));
        }
        format!("{}{}", lines.join("\n"), bill.text())
    };
    match failed {
        None => output.result(&json, text),
        Some(error) => output.shortfall(json, text, error),
    }
}

/// Registers of the log.
#[derive(Default)]
struct Deleted {
    gone: u64,
    left: u64,
}

/// How many of those that are due.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Amount {
    None,
    Part,
    All,
}

/// Deletes so many of what is due, which it reads nothing for.
async fn delete_some(
    wallet: &mut Wallet,
    online: &Online,
    amount: Amount,
    output: &Output,
) -> Result<Deleted, CliError> {
    let Some(known) = wallet.known.as_ref() else {
        return Ok(Deleted::default());
    };
    let Some(mut due) = known.left().filter(|due| due.count() > 0) else {
        return Ok(Deleted::default());
    };
    let mut gone = 0;
    // While one does not answer, or cannot be paid, deletes wait for it.
    let all_answer = online.connected().count() == online.members.len();
    if all_answer && !known.waits(online) {
        let rng = &mut StdRng::from_os_rng();
        let mut quorum = online.quorum(&wallet.root)?;
        let part = match amount {
            Amount::None => 0,
            Amount::Part => pace::daily_part(due.count(), rng),
            Amount::All => due.count(),
        };
        let pauses = amount == Amount::Part;
        if pauses {
            quorum = quorum.deleting_apart(delete_pauses);
        }
        if pauses && part > 1 {
            let minutes = (part * pace::mean_pause()).div_ceil(60);
            output.say(&format!(
                "deleting {} blob(s), one after the other: about {} minute(s); it may be ended at any time",
                count(part),
                count(minutes)
            ));
        }
        let quorum = Arc::new(quorum);
        let storage = Arc::new(wallet.folder.cache(&wallet.settings));
        let registers = Cached::new(&wallet.root, quorum.clone(), storage);
        while gone < part {
            if pauses && gone > 0 {
                tokio::time::sleep(pace::pause(rng)).await;
            }
            let deleted = delete_one(&mut due, &registers, &quorum).await;
            gone += u64::from(deleted == Ok(true));
            // Whoever ends it here goes on there, and nothing is paid for twice.
            if let Some(known) = wallet.known.as_mut() {
                known.leave(&due, Some(online.missed_deletes(&quorum).collect()));
            }
            wallet.save()?;
            if !deleted? {
                break;
            }
        }
    }
    let left = due.count();
    Ok(Deleted { gone, left })
}

/// Moves pairs of older epochs that are due, with a pause in front of each but the first: two that come together
/// are known to be of one wallet.
async fn move_apart(provider: &Provider, output: &Output) -> Result<(), CliError> {
    let mut clock = now();
    let mut said = false;
    loop {
        let done = provider.tend(clock).await?;
        if done.waiting == 0 {
            return Ok(());
        }
        let longest = (2 * PAUSES / done.waiting).clamp(2 * SHORTEST_PAUSE, LONGEST_PAUSE);
        if !said {
            let minutes = (done.waiting * (SHORTEST_PAUSE + longest) / 2).div_ceil(60);
            output.say(&format!(
                "moving tokens into the present epoch, {} pair(s) one after the other: about {} minute(s); it may be \
                 ended at any time",
                count(done.waiting),
                count(minutes)
            ));
            said = true;
        }
        let pause = rand::rng().random_range(SHORTEST_PAUSE * 1_000..=longest * 1_000);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        // The pauses are these; the purse's own are made for a program that keeps running.
        clock = now().max(done.next.unwrap_or(0));
    }
}

/// What was done with one storage node.
struct Row {
    number: usize,
    stayed: Option<Stayed>,
    standing: Option<Standing>,
}

impl Row {
    async fn of(
        number: usize,
        connection: &Connection,
        extent: &Extent,
        is_over: bool,
        at_once: bool,
        output: &Output,
    ) -> Result<Self, CliError> {
        let provider = &connection.provider;
        if connection.holdings().is_some() && !at_once {
            move_apart(provider, output).await?;
        }
        let stayed = match connection.holdings() {
            Some(_) if is_over => Some(standing::stay(provider, extent, at_once).await?),
            _ => None,
        };
        Ok(Row {
            number,
            stayed,
            standing: Standing::of(connection, Some(extent).filter(|_| is_over)),
        })
    }

    /// What a reserve lacks.
    fn short(&self, connection: &Connection) -> Option<CliError> {
        let missing = self.stayed.as_ref()?.missing;
        let held = connection.holdings().unwrap_or_default().tokens;
        (missing > 0).then_some(CliError::OutOfTokens {
            needed: held + missing,
            held,
        })
    }

    fn is_restorable(&self) -> bool {
        self.standing.is_some_and(Standing::is_now)
    }

    fn wrote(&self) -> Vec<&'static str> {
        let stayed = self.stayed.iter();
        stayed
            .flat_map(|stayed| stayed.wrote.iter().map(|wrote| standing::name(*wrote)))
            .collect()
    }

    fn json(&self) -> Value {
        json!({
            "number": self.number,
            "wrote": self.wrote(),
            "missing": self.stayed.as_ref().map_or(0, |stayed| stayed.missing),
            "next": self.stayed.as_ref().map(|stayed| stayed.next),
            "restorable": self.standing.map(Standing::json),
        })
    }

    fn text(&self, several: bool) -> String {
        let head = match several {
            true => format!("storage node {}: ", self.number),
            false => String::new(),
        };
        let wrote = match self.wrote() {
            wrote if wrote.is_empty() => "nothing was due".to_owned(),
            wrote => format!("wrote: {}", wrote.join(", ")),
        };
        let standing = self.standing.map_or("not known".to_owned(), Standing::text);
        let waits = self.standing.is_some() && !self.is_restorable();
        let next = self.stayed.as_ref().map_or(String::new(), |stayed| {
            let hours = count(stayed.next.saturating_sub(now()).div_ceil(3_600));
            match waits && stayed.missing == 0 {
                true => format!(
                    "; this goes on in {hours} hour(s): run `larder upkeep` again then, or leave it to a timer"
                ),
                false => format!("; something is due again in {hours} hour(s)"),
            }
        });
        format!("{head}{wrote}; restorable: {standing}{next}")
    }
}
