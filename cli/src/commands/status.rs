//! `larder status`: how the wallet and its storage node are.

use std::time::Instant;

use serde_json::json;

use crate::error::CliError;
use crate::output::{Output, bytes};
use crate::wallet::Folder;

pub(crate) async fn run(folder: &Folder, output: &Output) -> Result<(), CliError> {
    let (settings, index) = (folder.settings()?, folder.index()?);
    let values = index.newest();
    let total: u64 = values.values().map(|(_, entry)| entry.bytes).sum();
    let complete = index.is_complete();
    let damaged = index.damaged();

    let begun = Instant::now();
    let (answer, problem) = match settings.connect(folder.patience).await {
        Ok(connection) => {
            let record = connection.provider.record();
            let milliseconds = begun.elapsed().as_millis() as u64;
            connection.close().await;
            (Some((record, milliseconds)), None)
        }
        Err(error) => (None, Some(error)),
    };
    let answer = answer.as_ref();
    let json = json!({
        "provider": settings.provider.to_string(),
        "reachable": answer.is_some(),
        "connected_in_ms": answer.map(|(_, milliseconds)| milliseconds),
        "epoch": answer.map(|(record, _)| record.epoch),
        "paid": answer.map(|(record, _)| record.tariff.is_some()),
        "complete": complete,
        "values": values.len(),
        "bytes": total,
        "damaged": damaged,
    });
    let text = || {
        let node = match answer {
            Some((_, milliseconds)) => format!("answers ({milliseconds} ms to connect)"),
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
        format!(
            "storage node  {node}\nstored        {} value(s), {}{known}{damage}",
            values.len(),
            bytes(total)
        )
    };
    match problem {
        None => output.result(&json, text),
        Some(error) => output.shortfall(json, text, error),
    }
}
