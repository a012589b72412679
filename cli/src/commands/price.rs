//! `larder price`: what a value of some size costs, before anything is sent.

use larder_recovery::value::VALUE_MAX;
use larder_recovery::{Price, price_in_map};
use serde_json::{Value, json};

use crate::connection::Connection;
use crate::error::CliError;
use crate::output::{Output, bytes, count};
use crate::wallet::{Folder, Wallet};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Bytes, also as 300k, 10MB or 1GiB
    #[arg(value_name = "SIZE", value_parser = size)]
    size: u64,
    /// Only at the storage node with this number
    #[arg(long, value_name = "NUMBER")]
    provider: Option<usize>,
}

pub(crate) async fn run(args: Args, folder: &Folder, output: &Output) -> Result<(), CliError> {
    let wallet = Wallet::open(folder)?;
    let only = args.provider.map(|number| wallet.numbered(Some(number)));
    let only = only.transpose()?;
    let online = wallet.connect().await?;
    let mut lists = Vec::new();
    for (at, member) in online.members.iter().enumerate() {
        if only.is_some_and(|only| only != at) {
            continue;
        }
        if let Ok(connection) = &member.connected {
            lists.push(List::of(at + 1, connection, args.size, online.seals()));
        }
    }
    let problem = online.reasons().into_iter().next();
    let first = match lists.is_empty() {
        true => online
            .members
            .into_iter()
            .find_map(|member| member.connected.err()),
        false => {
            online.close().await?;
            None
        }
    };
    if let Some(error) = first {
        return Err(error);
    }
    problem.iter().for_each(|problem| output.say(problem));
    let paid = lists.iter().any(|list| list.price.is_some());
    let sum = |part: fn(&Price) -> u64| -> u64 {
        lists
            .iter()
            .filter_map(|list| list.price.as_ref())
            .map(part)
            .sum()
    };
    let json = json!({
        "bytes": args.size,
        "paid": paid,
        "store": sum(|price| price.store),
        "read": sum(|price| price.read),
        "delete": sum(|price| price.delete),
        "refund": sum(|price| price.refund),
        "tokens": lists.iter().map(|list| list.held).sum::<u64>(),
        "suffice_for": lists.iter().filter_map(|list| list.times).min(),
        "providers": lists.iter().map(List::json).collect::<Vec<_>>(),
    });
    output.result(&json, || {
        let several = lists.len() > 1;
        let texts: Vec<String> = lists
            .iter()
            .map(|list| list.text(args.size, several))
            .collect();
        texts.join("\n\n")
    })
}

/// What one storage node asks.
struct List {
    number: usize,
    price: Option<Price>,
    held: u64,
    times: Option<u64>,
}

impl List {
    fn of(number: usize, connection: &Connection, size: u64, seals: u64) -> Self {
        let price = price_in_map(&connection.provider.record(), size, seals);
        let held = connection.holdings().unwrap_or_default();
        List {
            number,
            held: held.tokens,
            times: price.map(|price| held.suffice_for(price.store)),
            price,
        }
    }

    fn json(&self) -> Value {
        json!({
            "number": self.number,
            "paid": self.price.is_some(),
            "blobs": self.price.map(|price| price.blobs),
            "store": self.price.map(|price| price.store),
            "tokens": self.held,
            "suffice_for": self.times,
        })
    }

    fn text(&self, size: u64, several: bool) -> String {
        let head = match several {
            true => format!("storage node {}: ", self.number),
            false => String::new(),
        };
        let Some(price) = self.price else {
            return format!("{head}this storage node serves for free");
        };
        format!(
            "{head}a value of {} takes {} blob(s)\n\
             storing it    {} tokens\n\
             reading it    {} tokens\n\
             deleting it   {} tokens; up to {} come back, fewer the longer it was stored\n\
             the purse     {} tokens: stores it {} time(s)",
            bytes(size),
            count(price.blobs),
            count(price.store),
            count(price.read),
            count(price.delete),
            count(price.refund),
            count(self.held),
            count(self.times.unwrap_or(0))
        )
    }
}

/// A number with a unit: decimal ones as in `k` or `MB`, binary ones as in `MiB`.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        unit => return Err(format!("`{unit}` is no unit: take k, MB, GiB or the like")),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "a size is a whole number with or without a unit, as 300k".to_owned())?;
    match number.checked_mul(unit) {
        Some(size) if size <= VALUE_MAX => Ok(size),
        _ => Err(format!("a value has at most {}", bytes(VALUE_MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_read_in_the_units_that_people_use() {
        for (text, bytes) in [
            ("0", 0),
            ("16384", 16_384),
            ("300k", 300_000),
            ("10MB", 10_000_000),
            ("10mb", 10_000_000),
            ("2KiB", 2_048),
            ("1GiB", 1 << 30),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "k",
            "-1",
            "1.5MB",
            "10 MB",
            "3 TB",
            "2GiB",
            "99999999999999999999",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
