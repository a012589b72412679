//! `larder purse`: the tokens, where they are, and what they suffice for.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::commands::buy;
use crate::connection::Connection;
use crate::error::CliError;
use crate::output::{Output, count, merged};
use crate::tokens::Tokens;
use crate::wallet::{Folder, Wallet};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only for the storage node with this number
    #[arg(long, value_name = "NUMBER")]
    provider: Option<usize>,
    /// Take back what another copy of the wallet's folder has made of its tokens. Only if that one is gone for good: both
    /// would spend the same. It costs a fee for each payment that the other one has made, and shows the storage
    /// node that all of them were one wallet's
    #[arg(long)]
    take_back: bool,
}

pub(crate) async fn run(args: Args, folder: &Folder, output: &Output) -> Result<(), CliError> {
    let wallet = Wallet::open(folder)?;
    let only = args.provider.map(|number| wallet.numbered(Some(number)));
    let only = only.transpose()?;
    let mut last_held = Vec::new();
    for address in &wallet.settings.providers {
        // Without its storage node, what it held last has to do.
        let server = address.server_key();
        last_held.push(wallet.folder.payer(server)?.last_held(server)?);
    }
    let mut online = wallet.connect().await?;
    if args.take_back {
        for (at, member) in online.members.iter().enumerate() {
            if let Ok(connection) = &member.connected
                && connection.holdings().is_some()
                && only.is_none_or(|only| only == at)
            {
                connection.provider.take_back().await?;
            }
        }
    }
    let several = online.members.len() > 1;
    let (mut purses, mut texts, mut problem) = (Vec::new(), Vec::new(), None);
    for (at, (member, last)) in online.members.iter_mut().zip(last_held).enumerate() {
        if only.is_some_and(|only| only != at) {
            continue;
        }
        let (purse, said) = match member.answered() {
            Ok(connection) => match Tokens::of(connection) {
                Some(tokens) => (json(&tokens, connection), text(&tokens, connection)),
                None => (
                    json!({ "reachable": true, "paid": false, "tokens": 0 }),
                    "this storage node serves for free".to_owned(),
                ),
            },
            Err(error) => {
                problem = problem.or(Some(error));
                let held = last.unwrap_or_default().tokens;
                (
                    json!({ "reachable": false, "tokens": held }),
                    format!("{} tokens, when it was last used", count(held)),
                )
            }
        };
        purses.push(merged(purse, json!({ "number": at + 1 })));
        texts.push(match several {
            true => format!("storage node {}: {said}", at + 1),
            false => said,
        });
    }
    online.close().await?;
    let held: u64 = purses
        .iter()
        .filter_map(|purse| purse["tokens"].as_u64())
        .sum();
    let json = json!({ "tokens": held, "purses": purses });
    let text = || texts.join("\n");
    match problem {
        None => output.result(&json, text),
        Some(error) => output.shortfall(json, text, error),
    }
}

fn json(tokens: &Tokens, connection: &Connection) -> Value {
    let purchases = connection.provider.purchases();
    let purchases: Vec<_> = purchases.iter().map(buy::json).collect();
    let more = json!({
        "reachable": true,
        "paid": true,
        "reserve": tokens.holdings.reserve,
        "in_flight": tokens.holdings.in_flight,
        "by_epoch": tokens.holdings.by_epoch,
        "pairs": tokens.holdings.pairs,
        "next_reissue": tokens.next_reissue,
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
    if holdings.reserve > 0 {
        let reserve = count(holdings.reserve);
        let _ = write!(text, "\n  of all, set aside for a restore: {reserve}");
    }
    if holdings.in_flight > 0 {
        let _ = write!(text, "\n  in flight: {}", count(holdings.in_flight));
    }
    let _ = write!(text, "\n{} operation(s) at once", holdings.pairs);
    if let Some(next) = tokens.next_reissue {
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
