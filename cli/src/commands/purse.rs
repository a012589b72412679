//! `larder purse`: the tokens, where they are, and what they suffice for.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::commands::buy;
use crate::connection::Connection;
use crate::error::CliError;
use crate::output::{Output, count, merged};
use crate::tokens::Tokens;
use crate::wallet::{Folder, Wallet};

pub(crate) async fn run(folder: &Folder, output: &Output) -> Result<(), CliError> {
    let wallet = Wallet::open(folder)?;
    // Without its storage node, what it held last has to do.
    let last_held = wallet.last_held()?;
    let connection = match wallet.connect().await {
        Ok(connection) => connection,
        Err(error) => {
            let held = last_held.unwrap_or_default();
            let json = json!({ "reachable": false, "tokens": held.tokens });
            let text = || format!("{} tokens, when it was last used", count(held.tokens));
            return output.shortfall(json, text, error);
        }
    };
    let said = Tokens::of(&connection)
        .map(|tokens| (json(&tokens, &connection), text(&tokens, &connection)));
    connection.close().await;
    match said {
        Some((json, text)) => output.result(&json, || text),
        None => output.result(
            &json!({ "reachable": true, "paid": false, "tokens": 0 }),
            || "this storage node serves for free".to_owned(),
        ),
    }
}

fn json(tokens: &Tokens, connection: &Connection) -> Value {
    let purchases = connection.provider.purchases();
    let purchases: Vec<_> = purchases.iter().map(buy::json).collect();
    let more = json!({
        "reachable": true,
        "paid": true,
        "in_flight": tokens.holdings.in_flight,
        "by_epoch": tokens.holdings.by_epoch,
        "pairs": tokens.holdings.pairs,
        "next_reissue": connection.upkeep.next,
        "purchases": purchases,
    });
    merged(tokens.json(), more)
}

fn text(tokens: &Tokens, connection: &Connection) -> String {
    let holdings = &tokens.holdings;
    let mut text = tokens.text();
    for (epoch, held) in &holdings.by_epoch {
        let _ = write!(text, "\n  of epoch {epoch}: {}", count(*held));
    }
    if holdings.in_flight > 0 {
        let _ = write!(text, "\n  in flight: {}", count(holdings.in_flight));
    }
    let _ = write!(text, "\n{} operation(s) at once", holdings.pairs);
    if let Some(next) = connection.upkeep.next {
        let minutes = next.saturating_sub(tokens.now).div_ceil(60);
        let _ = write!(text, "\nnext reissue in {} minute(s)", count(minutes));
    }
    for purchase in connection.provider.purchases() {
        let _ = write!(
            text,
            "\nnot collected yet: {} tokens; go on with `larder buy`",
            count(purchase.tokens)
        );
    }
    for warning in tokens.warnings() {
        let _ = write!(text, "\n{warning}");
    }
    text
}
