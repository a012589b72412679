//! `larder status`: how the wallet and its storage node are.

use std::time::Instant;

use larder_recovery::RecoveryError;
use serde_json::json;

use crate::error::CliError;
use crate::output::{Output, bytes, merged};
use crate::tokens::Tokens;
use crate::wallet::Folder;

pub(crate) async fn run(folder: &Folder, output: &Output) -> Result<(), CliError> {
    let (settings, index) = (folder.settings()?, folder.index()?);
    let values = index.newest();
    let total: u64 = values.values().map(|(_, entry)| entry.bytes).sum();
    let complete = index.is_complete();
    let damaged = index.damaged();

    // The purse belongs to whoever works with the wallet right now.
    let lock = folder.lock_if_free()?;
    let payer = lock.is_some().then(|| folder.payer()).transpose()?;
    let begun = Instant::now();
    let connected = settings.connect(folder.patience, payer.as_ref()).await;
    let (mut tokens, mut answer, mut problem) = (None, None, None);
    match connected {
        Ok(connection) => {
            let milliseconds = begun.elapsed().as_millis() as u64;
            tokens = Tokens::of(&connection);
            answer = Some((connection.provider.record(), milliseconds));
            connection.close().await;
        }
        Err(error) => problem = Some(error),
    }
    let answer = answer.as_ref();
    // The purse is opened once the storage node has answered.
    let purse_failed = matches!(
        problem,
        Some(CliError::Purse { .. } | CliError::Recovery(RecoveryError::Journal(_)))
    );
    let paid = answer.map(|(record, _)| record.tariff.is_some());
    let in_use = lock.is_none() && paid == Some(true);
    let json = json!({
        "provider": settings.provider.to_string(),
        "reachable": answer.is_some() || purse_failed,
        "connected_in_ms": answer.map(|(_, milliseconds)| milliseconds),
        "epoch": answer.map(|(record, _)| record.epoch),
        "paid": paid,
        "complete": complete,
        "values": values.len(),
        "bytes": total,
        "damaged": damaged,
    });
    let json = match &tokens {
        Some(tokens) => merged(json, tokens.json()),
        None => json,
    };
    let text = || {
        let node = match answer {
            Some((_, milliseconds)) => format!("answers ({milliseconds} ms to connect)"),
            None if purse_failed => "answers; the purse cannot be used".to_owned(),
            None => "no answer".to_owned(),
        };
        let known = match complete {
            true => String::new(),
            false => "; not complete, run `larder restore`".to_owned(),
        };
        let damage = match damaged.len() {
            0 => String::new(),
            count => format!("; {count} could not be read"),
        };
        let purse = match &tokens {
            Some(tokens) => format!("\npurse         {}", tokens.text()),
            None if in_use => "\npurse         another larder is using it".to_owned(),
            None => String::new(),
        };
        format!(
            "storage node  {node}\nstored        {} value(s), {}{known}{damage}{purse}",
            values.len(),
            bytes(total)
        )
    };
    for warning in tokens.iter().flat_map(Tokens::warnings) {
        output.say(&warning);
    }
    match problem {
        None => output.result(&json, text),
        Some(error) => output.shortfall(json, text, error),
    }
}
