//! `larder buy`: tokens, for a voucher or a payment.
//!
//! A purchase is in the purse's journal before the storage node hears of it. So it may be cut
//! short at any moment; `larder buy` without arguments goes on with it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use larder_protocol::{Address, InvalidText, Refusal, Voucher};
use larder_recovery::{Means, Provider, Purchase, RecoveryError, Stage};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::connection::Connection;
use crate::error::CliError;
use crate::output::{Output, count};
use crate::payer::now;
use crate::standing;
use crate::wallet::{Folder, Online, Wallet};

/// How often to ask whether a payment has arrived.
const ASK_EVERY: Duration = Duration::from_secs(3);

/// The longest file that could be a voucher, bytes.
const VOUCHER_FILE_MAX: u64 = 1_000;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many, for a payment that the storage node asks for
    #[arg(group = "what")]
    tokens: Option<u64>,
    /// The code of a voucher, which says how many
    #[arg(long, value_name = "CODE", group = "what")]
    voucher: Option<Voucher>,
    /// Take the code from this file (- for standard input), which no shell history remembers
    #[arg(long, value_name = "FILE", group = "what")]
    from: Option<PathBuf>,
    /// Collect what is paid, and give up what is not
    #[arg(long, group = "what")]
    give_up: bool,
    /// At the storage node with this number or address, which need not be in the list yet; without it
    /// the only one, or for going on all of them
    #[arg(long, value_name = "NUMBER|ADDRESS")]
    provider: Option<Which>,
    /// Print the payment request and end; `larder buy` collects what was paid for. With --json
    /// that is always so
    #[arg(long)]
    no_wait: bool,
}

/// A storage node, as a user names it.
#[derive(Clone)]
enum Which {
    Number(usize),
    Address(Address),
}

impl FromStr for Which {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(number) => Ok(Which::Number(number)),
            Err(_) => text.parse().map(Which::Address),
        }
    }
}

pub(crate) async fn run(args: Args, folder: &Folder, output: &Output) -> Result<(), CliError> {
    let wait = !args.no_wait && !output.json;
    let give_up = args.give_up;
    let which = args.provider.clone();
    let wanted = wanted(args)?;
    let wallet = Wallet::open(folder)?;
    let all = &wallet.settings.providers;
    let list = match (which, &wanted) {
        (Some(Which::Address(address)), _) => vec![address],
        (Some(Which::Number(number)), _) => vec![all[wallet.numbered(Some(number))?].clone()],
        (None, Some(_)) => vec![all[wallet.numbered(None)?].clone()],
        (None, None) => all.clone(),
    };
    let mut online = Online::connect(folder, &wallet.settings, &list, None, true).await?;
    let (mut done, mut failed, mut sells) = (Vec::new(), None, false);
    for member in &mut online.members {
        let provider = match member.answered() {
            Ok(connection) => &connection.provider,
            Err(error) => {
                failed = Some(error);
                continue;
            }
        };
        if provider.purse().is_none() {
            continue;
        }
        sells = true;
        match &wanted {
            Some((tokens, means)) => {
                let bought = provider.buy(*tokens, means.clone()).await;
                done.push(bought.map_err(|error| explain(error, means))?);
            }
            None => failed = go_on(provider, give_up, &mut done).await?.or(failed),
        }
        if wait {
            for purchase in &mut done {
                settle(provider, purchase, output).await?;
            }
        }
    }
    if !sells {
        let free = "this storage node serves for free: there is nothing to buy";
        return Err(failed.unwrap_or_else(|| CliError::Usage(free.to_owned())));
    }
    let mut addresses = online.members.iter().map(|member| &member.address);
    if wallet.known.is_none()
        && !addresses.any(|address| folder.restoring(address.server_key()).exists())
    {
        output.say(
            "tokens that a lost device had set aside stay in its cell: this one holds tokens of its own now. \
             `larder restore --words` into an empty folder takes them",
        );
    }
    let restorable = stay_restorable(&wallet, &online).await;
    let holdings = online.connected().filter_map(Connection::holdings);
    let held: u64 = holdings.map(|held| held.tokens).sum();
    online.close().await?;

    let collected = done
        .iter()
        .filter(|bought| bought.stage == Stage::Collected);
    let bought: u64 = collected.map(|bought| bought.tokens).sum();
    let json = json!({
        "bought": bought,
        "tokens": held,
        "restorable": restorable.as_ref().is_ok_and(|is_now| *is_now),
        "purchases": done.iter().map(json).collect::<Vec<_>>(),
    });
    if let Err(error) = restorable {
        output.say(&format!(
            "run `larder upkeep`: what was bought is not in a cell yet: {error}"
        ));
    }
    let text = || text(&done, bought, held);
    match failed {
        None => output.result(&json, text),
        Some(error) => output.shortfall(json, text, error),
    }
}

/// Makes a wallet restorable that has stored nothing yet: as long as there is nothing that the cell could
/// be tied to, there is no pause to wait for. Returns whether the wallet could be restored.
async fn stay_restorable(wallet: &Wallet, online: &Online) -> Result<bool, CliError> {
    let list = &wallet.settings.providers;
    let Some(known) = &wallet.known else {
        return Ok(false);
    };
    let extent = known.extent(list);
    let mut all = true;
    for connection in online.connected() {
        let provider = &connection.provider;
        let is_listed = |address: &Address| address.server_key() == provider.server_key();
        if provider.purse().is_none() || !list.iter().any(is_listed) {
            continue;
        }
        all &= match known.records {
            0 => standing::make_restorable(provider, &extent).await?,
            _ => provider.restorable(&extent)?.is_now(),
        };
    }
    Ok(all)
}

/// Goes on with what was begun. One purchase that failed keeps no other one back; returns why it did.
async fn go_on(
    provider: &Provider,
    give_up: bool,
    done: &mut Vec<Purchase>,
) -> Result<Option<CliError>, CliError> {
    let mut failed = None;
    for purchase in provider.purchases() {
        let collected = provider.collect(&purchase).await;
        if give_up && is_unpaid(provider, &purchase, &collected) {
            provider.give_up(&purchase)?;
            continue;
        }
        match collected {
            Ok(purchase) => done.push(purchase),
            Err(error) => failed = Some(explain(error, &purchase.means)),
        }
    }
    Ok(failed)
}

/// How many tokens and how they are paid for; `None` to go on with what was begun.
fn wanted(args: Args) -> Result<Option<(u64, Means)>, CliError> {
    let voucher = match (args.voucher, &args.from) {
        (Some(voucher), _) => voucher,
        (None, Some(path)) => read(path)?,
        (None, None) => return Ok(args.tokens.map(|tokens| (tokens, Means::Lightning))),
    };
    Ok(Some((voucher.tokens, Means::Voucher(voucher))))
}

fn read(path: &Path) -> Result<Voucher, CliError> {
    let mut text = Zeroizing::new(String::new());
    let read = match path.to_str() {
        Some("-") => std::io::stdin()
            .take(VOUCHER_FILE_MAX)
            .read_to_string(&mut text),
        _ => std::fs::File::open(path)
            .and_then(|file| file.take(VOUCHER_FILE_MAX).read_to_string(&mut text)),
    };
    read.map_err(CliError::file("read", path))?;
    let wrong = |error: String| CliError::Usage(format!("{}: {error}", path.display()));
    one_of(&text).map_err(wrong)
}

/// The one code in a text.
fn one_of(text: &str) -> Result<Voucher, String> {
    let mut codes = text.trim_start_matches('\u{feff}').split_whitespace();
    let code = codes.next().unwrap_or_default();
    match codes.count() {
        0 => code.parse().map_err(|error: InvalidText| error.to_string()),
        more => Err(format!(
            "{} codes are in it, and one is taken at a time: give each as --voucher CODE, or in a file of its own",
            more + 1
        )),
    }
}

/// Whether nothing that was paid for is lost when a purchase ends that came to this.
fn is_unpaid(
    provider: &Provider,
    purchase: &Purchase,
    collected: &Result<Purchase, RecoveryError>,
) -> bool {
    match collected {
        Ok(purchase) => purchase.stage != Stage::Collected,
        // Another copy has what this one cannot collect.
        Err(RecoveryError::Refused(Refusal::AlreadyClaimed)) => true,
        // What is paid is answered for, whatever is sold today.
        Err(RecoveryError::Refused(Refusal::NotOffered | Refusal::UnknownClaim)) => {
            let mut open = provider.purchases().into_iter();
            !open.any(|open| open.id == purchase.id && open.stage == Stage::Paid)
        }
        Err(_) => false,
    }
}

/// Waits until a purchase is paid and collected, or too old to be paid.
async fn settle(
    provider: &Provider,
    purchase: &mut Purchase,
    output: &Output,
) -> Result<(), CliError> {
    if let Stage::Unpaid { request, expires } = &purchase.stage {
        let minutes = expires.saturating_sub(now()).div_ceil(60);
        output.say(&format!(
            "pay this within {} minute(s), for {} tokens:\n{request}\n\
             waiting for it; ended before, `larder buy` collects them",
            count(minutes),
            count(purchase.tokens)
        ));
    }
    while purchase.stage != Stage::Collected {
        tokio::time::sleep(ASK_EVERY).await;
        // Asked once more after it has expired: it may have been paid at the last moment.
        let expired = is_expired(&purchase.stage, now());
        let asked = provider.collect(purchase).await;
        *purchase = asked.map_err(|error| explain(error, &purchase.means))?;
        if expired && purchase.stage != Stage::Collected {
            return Err(CliError::Failed(
                "nobody has paid in time, and the payment request has expired: `larder buy \
                 --give-up`, then buy anew"
                    .to_owned(),
            ));
        }
    }
    Ok(())
}

fn is_expired(stage: &Stage, now: u64) -> bool {
    matches!(stage, Stage::Unpaid { expires, .. } if *expires <= now)
}

/// What a refusal means to whoever typed the command.
fn explain(error: RecoveryError, means: &Means) -> CliError {
    let RecoveryError::Refused(refusal) = &error else {
        return error.into();
    };
    let told = match (refusal, means) {
        (Refusal::NotOffered, Means::Voucher(_)) => {
            "this storage node takes no vouchers: `larder buy TOKENS`"
        }
        (Refusal::NotOffered, Means::Lightning) => {
            "this storage node gives tokens for vouchers only: get a code from its operator, then \
             `larder buy --voucher CODE`"
        }
        (Refusal::BadVoucher, Means::Voucher(voucher)) if voucher.expires <= now() => {
            "this voucher has expired: ask whoever gave it to you for another"
        }
        // The code has a checksum, and the amount is its own.
        (Refusal::BadVoucher, _) => {
            "this voucher is not of this storage node: ask whoever gave it to you where it is from"
        }
        (Refusal::AlreadyClaimed, _) => {
            "another copy of this wallet has collected a purchase and holds its tokens: use that one's \
             purse. `larder buy --give-up` takes it off the list here"
        }
        (Refusal::UnknownClaim, _) => "a purchase was not paid in time and is over: buy anew",
        _ => return error.into(),
    };
    CliError::Failed(told.to_owned())
}

/// A purchase, as results show it.
pub(crate) fn json(purchase: &Purchase) -> Value {
    let (stage, request, expires) = match &purchase.stage {
        Stage::Begun => ("begun", None, None),
        Stage::Unpaid { request, expires } => ("unpaid", Some(request), Some(expires)),
        Stage::Paid => ("paid", None, None),
        Stage::Collected => ("collected", None, None),
    };
    json!({
        "tokens": purchase.tokens,
        "pairs": purchase.pairs,
        "stage": stage,
        "request": request,
        "expires": expires,
    })
}

fn text(done: &[Purchase], bought: u64, held: u64) -> String {
    let mut lines = Vec::new();
    for purchase in done {
        if let Stage::Unpaid { request, .. } = &purchase.stage {
            lines.push(format!(
                "pay this for {} tokens, then run `larder buy`:\n{request}",
                count(purchase.tokens)
            ));
        }
    }
    lines.push(match (bought, done.is_empty()) {
        (0, true) => format!(
            "no purchase is open; the purse holds {} tokens. Buy with --voucher CODE, --from FILE \
             or TOKENS",
            count(held)
        ),
        _ => format!(
            "bought {} tokens; the purse holds {}",
            count(bought),
            count(held)
        ),
    });
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_codes_in_one_file_are_counted_and_none_is_taken() {
        for (text, part) in [
            ("one\ntwo  three\n", "3 codes are in it"),
            ("a b", "2 codes"),
        ] {
            let error = one_of(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        for text in ["", "one", "\u{feff}one\n"] {
            let error = one_of(text).unwrap_err();
            assert!(!error.contains("codes are in it"), "{error}");
        }
    }

    #[test]
    fn a_payment_request_is_waited_for_until_it_expires() {
        let stage = Stage::Unpaid {
            request: "lnbc1".to_owned(),
            expires: 10,
        };
        assert!(!is_expired(&stage, 9));
        assert!(is_expired(&stage, 10));
        assert!(!is_expired(&Stage::Paid, 10));
    }
}
