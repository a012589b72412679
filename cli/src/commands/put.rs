//! `larder put`: store a file under a name.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use larder_recovery::log::map::{Expect, blobs};
use larder_recovery::value::VALUE_MAX;
use serde_json::json;

use crate::error::CliError;
use crate::output::{Output, bytes, merged};
use crate::progress;
use crate::wallet::{Folder, Online, Session, Wallet, check_name, shown};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The name to store it under; what was stored under it before is replaced
    name: String,
    /// The file, or - for standard input
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Only if it has this version; 0 if it was never stored
    #[arg(long, value_name = "NUMBER", group = "condition")]
    if_version: Option<u64>,
    /// Only if nothing is stored under the name
    #[arg(long, group = "condition")]
    if_absent: bool,
    /// Pay up to so many tokens to each storage node for storing it, instead of what `larder price` says and a
    /// quarter, and 128 more
    #[arg(long, value_name = "NUMBER")]
    max_tokens: Option<u64>,
}

pub(crate) async fn run(args: Args, folder: &Folder, output: &Output) -> Result<(), CliError> {
    check_name(&args.name)?;
    let mut wallet = Wallet::open_known(folder)?;
    let value = read(&args.file)?;
    let size = value.len() as u64;
    let expect = match (args.if_version, args.if_absent) {
        (Some(version), _) => Expect::Version(version),
        (None, true) => Expect::Absent,
        (None, false) => Expect::Any,
    };

    let mut session = Session::open(&mut wallet).await?;
    require_tokens(&session.online, size)?;
    let seals = session.online.seals();
    match args.max_tokens {
        Some(most) => session.online.limit_each(Some(most)),
        None => session.online.limit(|record| {
            let price = larder_recovery::price_in_map(record, size, seals);
            price.map(|price| price.store)
        }),
    }
    let members = session.online.members.len() as u64;
    let bar = progress::bar("storing", members * blobs(size), output.json);
    bar.set_message("requests");
    let transports = session.online.connected();
    let transports: Vec<_> = transports.map(|there| there.transport.clone()).collect();
    let write = session.write(&mut wallet, &args.name, expect, Some(value));
    let version = progress::watch(&bar, &transports, write).await?;
    session.online.limit_each(None);
    bar.finish();
    drop(transports);
    let traffic = session.online.traffic();
    let (bill, warnings) = session.finish(&mut wallet).await;

    warnings.iter().for_each(|warning| output.say(warning));
    let json = bill.on(json!({
        "name": args.name,
        "version": version,
        "bytes": size,
        "warnings": warnings,
    }));
    output.result(&merged(json, traffic), || {
        let (name, text) = (shown(&args.name), bill.text());
        format!("stored {name}, version {version}, {}{text}", bytes(size))
    })
}

/// Whoever cannot pay for all of it where it has to be acknowledged is told before the first token is spent.
fn require_tokens(online: &Online, bytes: u64) -> Result<(), CliError> {
    let (mut able, mut short) = (0, None);
    for connection in online.connected() {
        let record = connection.provider.record();
        let price = larder_recovery::price_in_map(&record, bytes, online.seals());
        let needed = price.map_or(0, |price| price.store);
        let holdings = connection.holdings().unwrap_or_default();
        let held = holdings.tokens.saturating_sub(holdings.reserve);
        match needed <= held {
            true => able += 1,
            false => short = short.or(Some((needed, held))),
        }
    }
    match short {
        Some((needed, held)) if able < online.policy().acknowledge => {
            Err(CliError::OutOfTokens { needed, held })
        }
        _ => Ok(()),
    }
}

/// Reads content, once: it may be large. Errors with [`io::ErrorKind::FileTooLarge`] as soon as it is
/// too long.
fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let (content, path) = match path.to_str() {
        Some("-") => (
            read_within(VALUE_MAX, io::stdin()),
            Path::new("standard input"),
        ),
        _ => (
            File::open(path).and_then(|file| read_within(VALUE_MAX, file)),
            path,
        ),
    };
    content.map_err(CliError::file("read", path))
}

fn read_within(max: u64, content: impl Read) -> io::Result<Vec<u8>> {
    let mut value = Vec::new();
    let read = content.take(max + 1).read_to_end(&mut value)?;
    match read as u64 <= max {
        true => Ok(value),
        false => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("a value has at most {max} bytes"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_long_a_content_is_refused_while_it_is_read() {
        let refused = read_within(100, io::repeat(7)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read_within(100, &[7; 100][..]).unwrap().len(), 100);
        assert!(read_within(100, &[7; 101][..]).is_err());
    }
}
