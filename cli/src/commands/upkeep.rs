//! `larder upkeep`: what is due for the wallet to be restorable from its root key alone, tokens included.
//!
//! It reads nothing that is stored and writes no value, so that what it does comes together with nothing else.
//! Made for a timer, once a day.

use std::time::Duration;

use larder_recovery::Provider;
use larder_recovery::breakglass::Extent;
use rand::Rng;
use serde_json::{Value, json};

use crate::connection::Connection;
use crate::error::CliError;
use crate::output::{Output, count};
use crate::payer::now;
use crate::standing::{self, Standing, Stayed};
use crate::wallet::{Folder, Wallet};

/// All pauses together, about, and the longest one, in seconds.
const PAUSES: u64 = 240;
const LONGEST_PAUSE: u64 = 30;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out the pauses, if the wallet could not be restored now: the storage node may guess then that
    /// the cell belongs to what was stored just before
    #[arg(long)]
    at_once: bool,
}

pub(crate) async fn run(args: Args, folder: &Folder, output: &Output) -> Result<(), CliError> {
    let wallet = Wallet::open_known(folder)?;
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
    let able = rows.iter().filter(|row| row.is_restorable()).count();
    if able < online.policy().recover {
        failed.get_or_insert(CliError::NotRestorable);
    }
    let bill = online.close().await?;
    let json = bill.on(json!({ "providers": rows.iter().map(Row::json).collect::<Vec<_>>() }));
    let text = || {
        let lines: Vec<String> = rows.iter().map(|row| row.text(list.len() > 1)).collect();
        format!("{}{}", lines.join("\n"), bill.text())
    };
    match failed {
        None => output.result(&json, text),
        Some(error) => output.shortfall(json, text, error),
    }
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
        let longest = (2 * PAUSES / done.waiting).clamp(1, LONGEST_PAUSE);
        if !said {
            let minutes = (done.waiting * longest / 2).div_ceil(60);
            output.say(&format!(
                "moving tokens into the present epoch, {} pair(s) one after the other: about {} minute(s); it may be \
                 ended at any time",
                count(done.waiting),
                count(minutes)
            ));
            said = true;
        }
        let pause = rand::rng().random_range(500..=longest * 1_000);
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
