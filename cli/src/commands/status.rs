//! `larder status`: how the wallet and its storage nodes are. It does not read the map, which costs tokens.

use larder_protocol::{Record, RecordHash};
use larder_recovery::RecoveryError;
use larder_recovery::breakglass::Extent;
use serde_json::{Value, json};

use crate::error::CliError;
use crate::output::{Output, bytes, count, merged};
use crate::standing::Standing;
use crate::tokens::Tokens;
use crate::wallet::{ALONE, Folder, Member, Online};

pub(crate) async fn run(folder: &Folder, output: &Output) -> Result<(), CliError> {
    let (settings, known) = (folder.settings()?, folder.known()?);
    // The purses belong to whoever works with the wallet right now.
    let lock = folder.lock_if_free()?;
    let in_use = lock.is_none();
    let list = &settings.providers;
    let mut online = Online::connect(folder, &settings, list, None, lock.is_some()).await?;
    let extent = known.as_ref().map(|known| known.extent(list));
    let (root, mut rows) = (folder.root()?, Vec::new());
    for member in &online.members {
        let server = member.address.server_key();
        let is_over = !folder.restoring(server).exists();
        let mut row = Row::of(member, in_use, extent.as_ref().filter(|_| is_over));
        row.forged = member.receipts.forged(&root, server)?;
        rows.push(row);
    }
    let policy = online.policy();
    let alone = online.members.len() == 1;
    let problem = online.require_enough().err();
    online.close().await?;

    let held: u64 = rows
        .iter()
        .filter_map(|row| Some(row.tokens.as_ref()?.holdings.tokens))
        .sum();
    let standings = rows.iter().filter_map(|row| row.standing);
    let restorable = standings.filter(|standing| standing.is_now()).count() >= policy.recover;
    let complete = known.is_some();
    let root = folder.root()?;
    let known = known.unwrap_or_default();
    let checkpoint = known.checkpoint(&root);
    let mut json = json!({
        "providers": rows.iter().zip(list).zip(1..).map(|((row, address), number)| {
            merged(json!({ "number": number, "address": address.to_string() }), row.json())
        }).collect::<Vec<_>>(),
        "complete": complete,
        "restorable": restorable,
        "commits": known.records,
        "values": known.values,
        "bytes": known.bytes,
        "checkpoint": checkpoint.map(|checkpoint| checkpoint.to_string()),
        "can_be_shown_older": alone,
    });
    if rows.iter().any(|row| row.tokens.is_some()) {
        json = merged(json, json!({ "tokens": held }));
    }
    let text = || {
        let mut lines: Vec<String> = rows
            .iter()
            .zip(1..)
            .map(|(row, number)| row.text(number, rows.len() > 1))
            .collect();
        let (values, size) = (known.values, bytes(known.bytes));
        lines.push(match complete {
            true => {
                format!("stored        {values} value(s), {size}, when this device last looked")
            }
            false => "stored        not known; run `larder restore`".to_owned(),
        });
        if let Some(checkpoint) = checkpoint {
            let commits = count(checkpoint.records());
            lines.push(format!(
                "checkpoint    {checkpoint}, of {commits} commit(s)"
            ));
        }
        if alone {
            lines.push(format!("one node      {ALONE}"));
        }
        lines.join("\n")
    };
    let warnings = rows.iter().filter_map(|row| row.tokens.as_ref());
    for warning in warnings.flat_map(Tokens::warnings) {
        output.say(&warning);
    }
    // Whoever works with the wallet right now has the purse: then nobody can tell.
    let not_restorable = (!restorable && !in_use).then_some(CliError::NotRestorable);
    match problem.or(not_restorable) {
        None => output.result(&json, text),
        Some(error) => output.shortfall(json, text, error),
    }
}

/// How one storage node is.
struct Row {
    /// How long it took to connect, and the epoch.
    answer: Option<(u64, u32)>,
    /// The hash of its terms, for comparison.
    terms: Option<RecordHash>,
    paid: Option<bool>,
    in_use: bool,
    tokens: Option<Tokens>,
    standing: Option<Standing>,
    problem: Option<String>,
    /// Blobs of its own making that it signed for.
    forged: usize,
    purse_failed: bool,
}

impl Row {
    fn of(member: &Member, in_use: bool, extent: Option<&Extent>) -> Self {
        let there = member.connected.as_ref();
        let record = there.ok().map(|connection| connection.provider.record());
        let paid = record.as_ref().map(|record| record.tariff.is_some());
        Row {
            answer: record
                .as_ref()
                .map(|record| (member.took.as_millis() as u64, record.epoch)),
            terms: record.as_ref().map(Record::hash),
            paid,
            in_use: in_use && paid == Some(true),
            tokens: there.ok().and_then(Tokens::of),
            // Whoever works with the wallet right now has the purse.
            standing: there
                .ok()
                .filter(|_| !in_use)
                .and_then(|connection| Standing::of(connection, extent)),
            problem: there.err().map(ToString::to_string),
            forged: 0,
            // The purse is opened once the storage node has answered.
            purse_failed: matches!(
                there.err(),
                Some(CliError::Purse { .. } | CliError::Recovery(RecoveryError::Journal(_)))
            ),
        }
    }

    fn json(&self) -> Value {
        let json = json!({
            "reachable": self.answer.is_some() || self.purse_failed,
            "connected_in_ms": self.answer.map(|(milliseconds, _)| milliseconds),
            "epoch": self.answer.map(|(_, epoch)| epoch),
            "terms": self.terms.map(|hash| hex::encode(hash.0)),
            "paid": self.paid,
            "problem": self.problem,
            "forged": self.forged,
            "restorable": self.standing.map(Standing::json),
        });
        match &self.tokens {
            Some(tokens) => merged(json, tokens.json()),
            None => json,
        }
    }

    fn text(&self, number: usize, several: bool) -> String {
        let node = match self.answer {
            Some((milliseconds, _)) => format!("answers ({milliseconds} ms to connect)"),
            None if self.purse_failed => "answers; the purse cannot be used".to_owned(),
            None => "no answer".to_owned(),
        };
        let purse = match &self.tokens {
            Some(tokens) => format!("\npurse         {}", tokens.text()),
            None if self.in_use => "\npurse         another larder is using it".to_owned(),
            None => String::new(),
        };
        let standing = self.standing.map_or(String::new(), |standing| {
            format!("\nrestorable    {}", standing.text())
        });
        let forged = match self.forged {
            0 => String::new(),
            blobs => format!(
                "\nFORGED        it signed for {blobs} blob(s) that this wallet never wrote: replace it, \
                 see `larder receipts`"
            ),
        };
        let terms = self.terms.map_or(String::new(), |hash| {
            format!("\nterms         {}", hex::encode(hash.0))
        });
        match several {
            true => format!("storage node {number}: {node}{terms}{purse}{standing}{forged}"),
            false => format!("storage node  {node}{terms}{purse}{standing}{forged}"),
        }
    }
}
