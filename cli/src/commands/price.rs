//! `larder price`: what a value of some size costs, before anything is sent.

use larder_recovery::value::VALUE_MAX;
use serde_json::json;

use crate::error::CliError;
use crate::output::{Output, bytes, count};
use crate::wallet::{Folder, HEADER_MAX, Wallet};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Bytes, also as 300k, 10MB or 1GiB
    #[arg(value_name = "SIZE", value_parser = size)]
    size: u64,
}

pub(crate) async fn run(args: Args, folder: &Folder, output: &Output) -> Result<(), CliError> {
    let wallet = Wallet::open(folder)?;
    let connection = wallet.connect().await?;
    // Its name is stored with it, and may be a long one.
    let value = (args.size + HEADER_MAX).min(VALUE_MAX);
    let price = larder_recovery::price(&connection.provider.record(), value);
    let held = connection.holdings().unwrap_or_default();
    connection.close().await;

    let Some(price) = price else {
        let json = json!({ "bytes": args.size, "paid": false });
        return output.result(&json, || "this storage node serves for free".to_owned());
    };
    let times = held.suffice_for(price.store);
    let json = json!({
        "bytes": args.size,
        "paid": true,
        "blobs": price.blobs,
        "store": price.store,
        "read": price.read,
        "delete": price.delete,
        "refund": price.refund,
        "tokens": held.tokens,
        "suffice_for": times,
    });
    output.result(&json, || {
        format!(
            "a value of {} takes {} blob(s)\n\
             storing it    {} tokens\n\
             reading it    {} tokens\n\
             deleting it   {} tokens; up to {} come back, fewer the longer it was stored\n\
             the purse     {} tokens: stores it {} time(s)",
            bytes(args.size),
            count(price.blobs),
            count(price.store),
            count(price.read),
            count(price.delete),
            count(price.refund),
            count(held.tokens),
            count(times)
        )
    })
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
