//! `larder log`: the commits since the newest roll-up, and who writes.

use std::fmt::Write;

use larder_recovery::log::history::{Changed, history};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::error::CliError;
use crate::output::{Output, bytes};
use crate::wallet::{Folder, Session, Wallet};

pub(crate) async fn run(folder: &Folder, output: &Output) -> Result<(), CliError> {
    let mut wallet = Wallet::open_known(folder)?;
    let session = Session::open(&mut wallet).await?;
    let hint = Some(session.map.log().generation());
    let read = history(session.quorum.clone(), &mut StdRng::from_os_rng(), hint).await;
    let troubles = session.troubles();
    let bill = session.close(&mut wallet).await?;
    troubles.iter().for_each(|trouble| output.say(trouble));
    let history = read?;
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
    let commits = history.commits.iter();
    let commits: Vec<Value> = commits
        .map(|commit| {
            let changes: Vec<Value> = commit.changes.iter().map(json).collect();
            json!({ "number": commit.number, "changes": changes })
        })
        .collect();
    let json = json!({
        "generation": history.generation,
        "commits": commits,
        "last_writer": writer,
        "warnings": troubles,
    });
    output.result(&bill.on(json), || {
        let mut text = String::new();
        for commit in &history.commits {
            for change in &commit.changes {
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

fn json(change: &Changed) -> Value {
    json!({ "name": change.key, "bytes": change.size, "deleted": change.size.is_none() })
}

fn line(change: &Changed) -> String {
    // Other programs' keys may hold what a terminal would obey.
    let name = change.key.escape_debug();
    match change.size {
        Some(size) => format!("put {name}, {}", bytes(size)),
        None => format!("deleted {name}"),
    }
}
