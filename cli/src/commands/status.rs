//! `larder status`: how the wallet and its storage node are.

use std::time::Instant;

use serde_json::json;

use crate::error::CliError;
use crate::output::{Output, bytes};
use crate::wallet::{Folder, Wallet};

pub(crate) async fn run(folder: &Folder, output: &Output) -> Result<(), CliError> {
    let wallet = Wallet::open(folder)?;
    let entries = wallet.index.newest();
    let total: u64 = entries.iter().map(|entry| entry.bytes).sum();
    let begun = Instant::now();
    let (epoch, paid, milliseconds, problem) = match wallet.connect().await {
        Ok(online) => {
            let record = online.provider.record();
            let milliseconds = begun.elapsed().as_millis() as u64;
            online.close().await;
            (
                Some(record.epoch),
                Some(record.tariff.is_some()),
                Some(milliseconds),
                None,
            )
        }
        Err(error) => (None, None, None, Some(error)),
    };
    let complete = wallet.index.require_complete().is_ok();
    let damaged = wallet.index.damaged();
    let json = json!({
        "provider": wallet.settings.provider.to_string(),
        "reachable": problem.is_none(),
        "problem": problem.as_ref().map(ToString::to_string),
        "connected_in_ms": milliseconds,
        "epoch": epoch,
        "paid": paid,
        "complete": complete,
        "values": entries.len(),
        "bytes": total,
        "damaged": damaged,
    });
    output.result(&json, || {
        let node = match (&problem, milliseconds) {
            (None, Some(milliseconds)) => format!("answers ({milliseconds} ms to connect)"),
            (problem, _) => problem
                .as_ref()
                .map_or_else(String::new, |problem| format!("no answer: {problem}")),
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
            entries.len(),
            bytes(total)
        )
    });
    match problem {
        None => Ok(()),
        Some(error) => Err(error),
    }
}
