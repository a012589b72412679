//! `larder log`: the commits since the newest roll-up, and who writes.

use std::fmt::Write;

use larder_recovery::log::history::{Changed, Committed};
use serde_json::{Value, json};

use crate::error::CliError;
use crate::output::{Output, bytes};
use crate::wallet::{Folder, Session, Wallet, is_provider_list, is_terms, shown};

pub(crate) async fn run(folder: &Folder, output: &Output) -> Result<(), CliError> {
    let mut wallet = Wallet::open_known(folder)?;
    let session = Session::open(&mut wallet).await?;
    let (history, troubles) = (session.history.clone(), session.troubles());
    let bill = session.close(&mut wallet).await?;
    troubles.iter().for_each(|trouble| output.say(trouble));
    let ours = |writer| {
        wallet
            .known
            .as_ref()
            .is_some_and(|known| known.is_ours(writer))
    };
    let writer = match history.last_writer {
        None => "nobody",
        Some(writer) if ours(writer) => "this device",
        Some(_) => "another device",
    };
    let commits: Vec<Value> = history.commits.iter().map(json).collect();
    let json = json!({
        "generation": history.generation,
        "commits": commits,
        "last_writer": writer,
        "warnings": troubles,
    });
    output.result(&bill.on(json), || {
        let mut text = String::new();
        for commit in &history.commits {
            for change in commit.changes.iter().filter(|it| !is_terms(&it.key)) {
                let _ = writeln!(text, "{:>8}  {}", commit.number, line(change));
            }
        }
        let _ = write!(
            text,
            "{} commit(s) since roll-up {}; {writer} wrote last",
            history.commits.len(),
            history.generation
        );
        text
    })
}

fn json(commit: &Committed) -> Value {
    // The list of storage nodes is no value of the user's, and what their terms were is none either.
    let changes = commit.changes.iter();
    let (list, values): (Vec<_>, Vec<_>) = changes
        .filter(|change| !is_terms(&change.key))
        .partition(|change| is_provider_list(&change.key));
    let change = |change: &Changed| json!({ "name": change.key, "bytes": change.size, "deleted": change.size.is_none() });
    json!({
        "number": commit.number,
        "changes": values.into_iter().map(change).collect::<Vec<_>>(),
        "providers_changed": !list.is_empty(),
    })
}

fn line(change: &Changed) -> String {
    if is_provider_list(&change.key) {
        return "storage nodes set".to_owned();
    }
    let name = shown(&change.key);
    match change.size {
        Some(size) => format!("put {name}, {}", bytes(size)),
        None => format!("deleted {name}"),
    }
}
