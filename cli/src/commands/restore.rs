//! `larder restore`: find everything again, from the root key alone, tokens included.
//!
//! One storage node's address is enough: the map names the others. Can be done again at any time, also after
//! it was cut short; then it goes on, and pays for nothing twice. It ends by writing a cell in place of the one that it
//! has used up.

use std::collections::BTreeMap;
use std::path::PathBuf;

use larder_recovery::RecoveryError;
use larder_recovery::breakglass::Extent;
use larder_recovery::log::map::Listed;
use serde_json::json;

use crate::durable;
use crate::error::CliError;
use crate::in_the_clear::{Existing, Target};
use crate::output::{Output, bytes, count, merged};
use crate::progress::{self, Stages};
use crate::wallet::{Folder, Restores, Session, Start, Wallet, shown};

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
    /// Forget what this device knows, and believe the storage nodes even if they show less
    #[arg(long)]
    from_start: bool,
    /// Follow tokens through what the lost wallet did last, to find those that were in use: about four pairs of
    /// credentials, which no restore finds otherwise. The storage node sees by it which of those operations belong
    /// together, and to this restore
    #[arg(long)]
    walk: bool,
}

pub(crate) async fn run(args: Args, folder: &Folder, output: &Output) -> Result<(), CliError> {
    begin(args.start, folder)?;
    let mut wallet = Wallet::open(folder)?;
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
    let forgotten = wallet.known.take_if(|_| args.from_start);
    let stages = Stages::new(output.json);
    let mut restores = Restores::new(&wallet, args.walk, stages.clone());
    let session = Session::restore(&mut wallet, &mut restores).await?;
    stages.end();
    let values = session.values("");
    let mut export = Export::default();
    if let Some(mut target) = target {
        let exported = export.write_all(&session, &values, &mut target, existing, output);
        let exported = exported.await;
        exported.map_err(|error| restores.in_all(error, Some(&session.map)))?;
        target.end()?;
    }
    let without: Vec<String> = restores.failed().map(ToString::to_string).collect();
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
    let restorable = session.is_restorable();
    warnings.extend(session.unrestorable());
    let bill = session.close(&mut wallet).await?;
    finished.forget(folder)?;

    for reason in &without {
        output.say(&format!("a storage node gave no tokens back: {reason}"));
    }
    warnings.iter().for_each(|warning| output.say(warning));
    if commits == 0 {
        output.say(
            "nothing was ever stored with this root key at these storage nodes: see that they are the \
             right ones before you store anything",
        );
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

/// Makes a wallet of the root key that was kept, unless this is it already: then it goes on.
fn begin(start: Start, folder: &Folder) -> Result<(), CliError> {
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
