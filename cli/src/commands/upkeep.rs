//! `larder upkeep`: what is due for the wallet to be restorable from its root key alone, tokens included.
//!
//! It reads nothing that is stored and writes no value, so that what it does comes together with nothing else.
//! Made for a timer, once a day.

use larder_recovery::breakglass::Extent;
use serde_json::{Value, json};

use crate::connection::Connection;
use crate::error::CliError;
use crate::output::{Output, count};
use crate::payer::now;
use crate::standing::{self, Standing, Stayed};
use crate::wallet::{Folder, Wallet};

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
                match Row::of(number, connection, &extent, is_over, args.at_once).await {
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
    ) -> Result<Self, CliError> {
        let provider = &connection.provider;
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
