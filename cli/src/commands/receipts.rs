//! `larder receipts`: the evidence that is kept, and what it proves.
//!
//! For every blob that a storage node acknowledged there is its signature. `verify` checks them all, and asks for each
//! blob again, in a way that makes an answer that contradicts the signature proof of the loss. Where it is no proof, as
//! long after the signature, the blob is missing all the same, and that is said with an exit code of its own.

use larder_recovery::RootKey;
use serde_json::{Value, json};

use crate::error::CliError;
use crate::evidence::Audited;
use crate::output::{Output, count};
use crate::wallet::{Folder, Member, Wallet};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(clap::Subcommand)]
enum What {
    /// Check every signature, and ask for every blob: a look-up each
    Verify,
    /// Go on with a storage node that was convicted of terms for this wallet alone: it may know the wallet by all it does
    Pardon {
        /// Its number in `larder status`
        number: usize,
    },
}

pub(crate) async fn run(args: Args, folder: &Folder, output: &Output) -> Result<(), CliError> {
    match args.what {
        None => kept(folder, output),
        Some(What::Verify) => verify(folder, output).await,
        Some(What::Pardon { number }) => pardon(number, folder, output),
    }
}

fn kept(folder: &Folder, output: &Output) -> Result<(), CliError> {
    let (root, mut rows) = (folder.root()?, Vec::new());
    for (address, number) in folder.settings()?.providers.iter().zip(1..) {
        let server = address.server_key();
        let receipts = folder.receipts(server)?;
        rows.push(Row {
            number,
            kept: receipts.len(),
            proven: receipts.proven(server),
            convictions: receipts.convictions(server),
            missing: receipts.missing(server),
            forged: receipts.forged(&root, server)?,
            contradictions: receipts.shown.contradictions(server),
            audited: None,
            problem: None,
        });
    }
    told(&rows, &json!({}), "", output)
}

fn pardon(number: usize, folder: &Folder, output: &Output) -> Result<(), CliError> {
    let wallet = Wallet::open(folder)?;
    let at = wallet.numbered(Some(number))?;
    let server = *wallet.settings.providers[at].server_key();
    let mut receipts = folder.receipts(&server)?;
    receipts.shown.pardon();
    let payer = folder.payer(&server)?;
    if payer.folder.exists() {
        payer.open(&server)?.pardon()?;
    }
    receipts.save()?;
    output.result(&json!({ "number": number, "pardoned": true }), || {
        format!(
            "storage node {number} is used by whatever terms it shows, until its next ones contradict them; what it \
             has signed is kept"
        )
    })
}

async fn verify(folder: &Folder, output: &Output) -> Result<(), CliError> {
    let wallet = Wallet::open(folder)?;
    let mut online = wallet.connect().await?;
    let mut rows = Vec::new();
    for (member, number) in online.members.iter_mut().zip(1..) {
        rows.push(Row::audited(&wallet.root, member, number).await?);
    }
    let bill = online.close().await?;
    told(&rows, &bill.on(json!({})), &bill.text(), output)
}

/// What there is of one storage node.
struct Row {
    number: usize,
    kept: usize,
    proven: usize,
    convictions: usize,
    /// Blobs that it lacks without a proof of it.
    missing: usize,
    /// Blobs of its own making that it signed for.
    forged: usize,
    /// Terms that contradict one another.
    contradictions: usize,
    /// When it was asked just now.
    audited: Option<Audited>,
    problem: Option<String>,
}

impl Row {
    async fn audited(root: &RootKey, member: &mut Member, number: usize) -> Result<Self, CliError> {
        let server = member.address.server_key();
        let (kept, proven) = (member.receipts.len(), member.receipts.proven(server));
        let audited = match &member.connected {
            Ok(connection) => member.receipts.audit(&connection.provider).await,
            Err(error) => Err(CliError::Failed(error.to_string())),
        };
        let (audited, problem) = match audited {
            Ok(audited) => (Some(audited), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Ok(Row {
            number,
            kept,
            proven,
            convictions: member.receipts.convictions(server),
            missing: member.receipts.missing(server),
            forged: member.receipts.forged(root, server)?,
            contradictions: member.receipts.shown.contradictions(server),
            audited,
            problem,
        })
    }

    fn json(&self) -> Value {
        json!({
            "number": self.number,
            "kept": self.kept,
            "proven": self.proven,
            "asked": self.audited.map(|audited| audited.asked),
            "deleted": self.audited.map(|audited| audited.deleted),
            "convictions": self.convictions,
            "missing": self.missing,
            "forged": self.forged,
            "contradictions": self.contradictions,
            "problem": self.problem,
        })
    }

    fn text(&self) -> String {
        let (kept, proven) = (count(self.kept as u64), count(self.proven as u64));
        let mut text = format!(
            "storage node {}: {kept} receipt(s), {proven} of which prove to anyone that it stored a blob",
            self.number
        );
        if let Some(Audited { asked, deleted }) = self.audited {
            text += &format!("; asked for {} of them", count(asked as u64));
            if deleted > 0 {
                text += &format!("; it says that {} were deleted", count(deleted as u64));
            }
        }
        text += &match (self.convictions, self.contradictions) {
            (0, 0) => "; nothing convicts it".to_owned(),
            (0, _) => String::new(),
            (lost, _) => format!("; CONVICTED: it lost {lost} blob(s) that it had signed for"),
        };
        if self.contradictions > 0 {
            text += &format!(
                "; CONVICTED: it has signed terms that contradict one another, {} time(s)",
                self.contradictions
            );
        }
        if self.missing > 0 {
            text += &format!(
                "; {} blob(s) are missing and no receipt proves it",
                self.missing
            );
        }
        if self.forged > 0 {
            text += &format!(
                "; FORGED: it signed for {} blob(s) in places of this wallet that the root key never wrote",
                self.forged
            );
        }
        match &self.problem {
            Some(problem) => format!("{text}; {problem}"),
            None => text,
        }
    }
}

/// Prints it; a conviction is a failure, and so is what is missing or forged.
fn told(rows: &[Row], more: &Value, bill: &str, output: &Output) -> Result<(), CliError> {
    let json = crate::output::merged(
        json!({ "providers": rows.iter().map(Row::json).collect::<Vec<_>>() }),
        more.clone(),
    );
    let text = || {
        let lines: Vec<String> = rows.iter().map(Row::text).collect();
        format!("{}{bill}", lines.join("\n"))
    };
    let convicted: Vec<String> = rows
        .iter()
        .filter(|row| row.convictions + row.contradictions > 0)
        .map(|row| row.number.to_string())
        .collect();
    let forged: Vec<String> = rows
        .iter()
        .filter(|row| row.forged > 0)
        .map(|row| row.number.to_string())
        .collect();
    let missing = rows.iter().map(|row| row.missing).sum();
    let silent = rows.iter().find_map(|row| row.problem.clone());
    let error = match (convicted.is_empty(), missing, silent) {
        _ if !forged.is_empty() => CliError::Failed(format!(
            "forged: storage node(s) {} signed for blobs that this wallet never wrote, as you can check \
             and nobody without its root key can: replace them",
            forged.join(", ")
        )),
        (true, 0, None) => return output.result(&json, text),
        (false, ..) => CliError::Failed(format!(
            "convicted: storage node(s) {}; bring what is lost back with `larder providers heal`, and \
             replace them",
            convicted.join(", ")
        )),
        (true, 0, Some(problem)) => CliError::Failed(problem),
        (true, blobs, _) => CliError::Missing { blobs },
    };
    output.shortfall(json, text, error)
}
