//! `larder restore`: find everything again, from the root key alone, tokens included.
//!
//! One storage node's address is enough: the map names the others. Can be done again at any time, also after
//! it was cut short; then it goes on, and pays for nothing twice. It ends by writing a cell in place of the one that it
//! has used up.

use std::collections::BTreeMap;
use std::path::PathBuf;

use larder_recovery::breakglass::Extent;
use larder_recovery::log::map::Listed;
use larder_recovery::{Checkpoint, RecoveryError};
use serde_json::json;

use crate::durable;
use crate::error::CliError;
use crate::in_the_clear::{Existing, Target};
use crate::output::{Output, bytes, count, merged};
use crate::progress::{self, Stages};
use crate::wallet::{ALONE, Folder, Known, Restores, Session, Start, Wallet, shown};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    start: Start,
    /// Also read every value, and write it to a file of its name in this folder; a file that is there with other content
    /// stays, and is named at the end
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
    /// Replace files that are there with other content
    #[arg(long, requires = "to")]
    replace: bool,
    /// If nothing is found, take it that nothing was stored yet: for a wallet that begins with words you had
    #[arg(long)]
    new: bool,
    /// Forget what this device knows, and believe the storage nodes even if they show less
    #[arg(long)]
    from_start: bool,
    /// Refuse a state that is older than this checkpoint, which `larder status` of the wallet or of another device has
    /// shown; may be repeated. It holds until a restore has reached it
    #[arg(long, value_name = "CHECKPOINT")]
    at_least: Vec<Checkpoint>,
    /// Follow tokens through what the lost wallet did last, to find those that were in use: about four pairs of
    /// credentials, which no restore finds otherwise. The storage node sees by it which of those operations belong
    /// together, and to this restore
    #[arg(long)]
    walk: bool,
}

pub(crate) async fn run(args: Args, folder: &Folder, output: &Output) -> Result<(), CliError> {
    begin(&args.start, folder)?;
    let mut wallet = Wallet::open(folder)?;
    args.start.apply(&mut wallet)?;
    for checkpoint in &args.at_least {
        checkpoint.belongs_to(&wallet.root)?;
    }
    if args.from_start {
        wallet.witnesses.forget()?;
    }
    if !args.at_least.is_empty() {
        wallet.witnesses.note(&args.at_least)?;
    }
    let existing = match args.replace {
        true => Existing::IsReplaced,
        false => Existing::Stays,
    };
    let mut target = None;
    if let Some(to) = &args.to {
        durable::make_folder(to).map_err(CliError::file("create", to))?;
        target = Some(Target::open(to, &folder.path)?);
    }
    // What was left behind by sessions that were killed nobody else could tell.
    let is_empty = |known: &Known| known.records == 0;
    let may_be_empty = args.new || wallet.known.as_ref().is_some_and(is_empty);
    let forgotten = wallet.known.take_if(|_| args.from_start);
    let stages = Stages::new(output.json);
    let mut restores = Restores::new(&wallet, args.walk, args.from_start, stages.clone());
    let session = Session::restore(&mut wallet, &mut restores).await?;
    stages.end();
    if session.map.commits() == 0 && !may_be_empty {
        return nothing_found(folder, session, restores).await;
    }
    let values = session.values("");
    let mut export = Export::default();
    if let Some(mut target) = target {
        let exported = export.write_all(&session, &values, &mut target, existing, output);
        let exported = exported.await;
        exported.map_err(|error| restores.in_all(error, Some(&session.map)))?;
        target.end()?;
    }
    let without: Vec<String> = restores.failed().map(ToString::to_string).collect();
    let without_page = restores.without_page();
    // What they found is known before what they have read is forgotten.
    let finished = restores.finish()?;
    if let Some(forgotten) = forgotten {
        let known = wallet.known.get_or_insert_default();
        known.take_unfinished(forgotten);
    }
    let extent = Extent::of(&session.map, session.list());
    let renewed = finished.renew(&session.online, &extent).await;
    let (commits, members) = (session.map.commits(), session.online.members.len());
    let (traffic, mut warnings) = (session.online.traffic(), session.troubles());
    warnings.extend(renewed.map(|error| {
        format!(
            "what came back is in no cell yet, as writing one failed: run `larder upkeep --at-once`: {error}"
        )
    }));
    let numbered = session.online.members.iter().zip(1..);
    let lacking = numbered.filter(|(member, _)| without_page.contains(member.address.server_key()));
    warnings.extend(lacking.map(|(_, number)| {
        format!(
            "storage node {number} does not give the page that its cell names: tokens that it listed are not found, and \
             how far the history went when it was written is not known, unless another device has replaced it"
        )
    }));
    let (vouched, alone) = (session.vouched, members == 1);
    let checkpoint = Checkpoint::new(&wallet.root, &session.map.log().point());
    let restorable = session.is_restorable();
    warnings.extend(session.unrestorable());
    let bill = session.close(&mut wallet).await?;
    finished.forget(folder)?;
    // What it has learned goes as far, at least.
    wallet.witnesses.forget()?;

    for reason in &without {
        output.say(&format!("a storage node gave no tokens back: {reason}"));
    }
    warnings.iter().for_each(|warning| output.say(warning));
    if alone {
        output.say(&said_alone(commits, vouched));
    }
    let total: u64 = values.iter().map(|value| value.size).sum();
    let Export { damaged, unwritten } = export;
    let json = merged(
        bill.on(json!({
            "values": values.len(),
            "bytes": total,
            "commits": commits,
            "providers": members,
            "damaged": damaged,
            "unwritten": unwritten,
            "warnings": warnings,
            "restorable": restorable,
            "without_tokens": without,
            "vouched": vouched,
            "checkpoint": checkpoint.to_string(),
        })),
        traffic,
    );
    let text = || {
        let again = match restorable {
            true => "all of it can be restored again",
            false => "with its tokens it cannot be restored again yet: see `larder status`",
        };
        format!(
            "restored {} value(s), {} in all, of {} commit(s) at {members} storage node(s){}; {again}",
            values.len(),
            bytes(total),
            count(commits),
            bill.text()
        )
    };
    for (name, reason) in &damaged {
        output.say(&format!("{} could not be read: {reason}", shown(name)));
    }
    for (name, reason) in &unwritten {
        output.say(&format!("{} could not be written: {reason}", shown(name)));
    }
    if damaged.is_empty() && unwritten.is_empty() {
        return output.result(&json, text);
    }
    let error = CliError::Failed(format!(
        "{} value(s) could not be read, {} file(s) could not be written",
        damaged.len(),
        unwritten.len()
    ));
    output.shortfall(json, text, error)
}

/// Keeps what was taken and paid for, and does not believe that there is nothing: whatever this wallet stored next would
/// begin another history.
async fn nothing_found(
    folder: &Folder,
    session: Session,
    restores: Restores,
) -> Result<(), CliError> {
    let finished = restores.finish()?;
    let members = session.online.members.len();
    session.online.close().await?;
    finished.forget(folder)?;
    Err(CliError::NothingFound(members))
}

/// What a restore from one storage node is worth.
fn said_alone(commits: u64, vouched: u64) -> String {
    let by_witnesses = match vouched {
        0 => "nothing vouches for what was restored to be the newest state".to_owned(),
        vouched => format!(
            "of {commits} commit(s) {vouched} are vouched for, by what this device knew, a checkpoint or the storage node's own \
             cell; nothing vouches that there were no more"
        ),
    };
    format!("{by_witnesses}: {ALONE}")
}

/// Makes a wallet of the root key that was kept, unless this is it already: then it goes on.
fn begin(start: &Start, folder: &Folder) -> Result<(), CliError> {
    let Some(root) = start.root()? else {
        return Ok(());
    };
    if !folder.root_key().exists() {
        return folder.create(&root, None, &start.settings()?, None);
    }
    match *folder.root()?.reveal() == *root.reveal() {
        true => Ok(()),
        false => Err(CliError::Usage(format!(
            "{} is a wallet with another root key: name another folder with --wallet",
            folder.path.display()
        ))),
    }
}

/// Values as files. One that cannot be read or written keeps no other one back.
#[derive(Default)]
struct Export {
    damaged: BTreeMap<String, String>,
    unwritten: BTreeMap<String, String>,
}

impl Export {
    async fn write_all(
        &mut self,
        session: &Session,
        values: &[Listed],
        target: &mut Target,
        existing: Existing,
        output: &Output,
    ) -> Result<(), CliError> {
        let total = values.iter().map(|value| value.size).sum();
        let bar = progress::bar("restoring", total, output.json);
        for Listed {
            key: name, size, ..
        } in values
        {
            bar.set_message(format!("bytes, {}", shown(name)));
            match session.map.get(name).await {
                Ok(current) => {
                    let content = current.value.unwrap_or_default();
                    if let Err(error) = target.place(name, &content, existing) {
                        self.unwritten.insert(name.clone(), error.to_string());
                    }
                }
                Err(error @ RecoveryError::Misbehaved(_)) => {
                    self.damaged.insert(name.clone(), error.to_string());
                }
                // The others would fare no better.
                Err(error) => return Err(error.into()),
            }
            bar.inc(*size);
        }
        bar.finish();
        Ok(())
    }
}
