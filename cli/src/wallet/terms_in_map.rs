//! The hashes of the storage nodes' terms, which are kept in the map itself: so devices compare what they were shown with
//! what the others were, and with the past.
//!
//! They are written when something else is committed anyway; who only reads leaves no mark. A line each: server key,
//! epoch, hash of the record.

use larder_protocol::{Record, RecordHash, ServerKey};
use larder_recovery::log::map::{Expect, Map, Write};

use super::Online;
use crate::error::CliError;

/// Where they are: no name of a value can be that.
const KEY: &str = "\0terms";

/// What one storage node has shown whoever wrote last.
#[derive(Clone, PartialEq, Eq)]
struct Line {
    server: ServerKey,
    epoch: u32,
    hash: RecordHash,
}

impl Line {
    fn of(record: &Record) -> Self {
        Line {
            server: record.server_key,
            epoch: record.epoch,
            hash: record.hash(),
        }
    }

    fn read(line: &str) -> Option<Self> {
        let mut fields = line.split(' ');
        let mut field = || fields.next();
        Some(Line {
            server: field()?.parse().ok()?,
            epoch: field()?.parse().ok()?,
            hash: RecordHash(hex::decode(field()?).ok()?.try_into().ok()?),
        })
    }

    fn write(&self) -> String {
        let hash = hex::encode(self.hash.0);
        format!("{} {} {hash}", self.server, self.epoch)
    }

    /// Whether somebody who was shown this may be shown these terms, now or later.
    fn agrees(&self, record: &Record) -> bool {
        let named = record.tariff.iter().flat_map(|tariff| &tariff.earlier);
        let mut then = named.filter(|earlier| earlier.epoch == self.epoch);
        match record.epoch == self.epoch {
            true => record.hash() == self.hash,
            false => then.all(|earlier| earlier.hash == self.hash),
        }
    }
}

/// Whether it is what a change of this key changes.
pub(crate) fn is_at(key: &str) -> bool {
    key == KEY
}

/// Compares them with what the storage nodes show this device.
pub(super) async fn compare(map: &Map, online: &Online) -> Result<(), CliError> {
    let (lines, _) = read(map).await?;
    for (member, number) in online.members.iter().zip(1..) {
        let Ok(connection) = &member.connected else {
            continue;
        };
        let provider = &connection.provider;
        let theirs = lines
            .iter()
            .find(|line| line.server == *provider.server_key());
        let Some(line) = theirs.filter(|_| !member.receipts.shown.is_pardoned()) else {
            continue;
        };
        if line.epoch > provider.record().epoch && provider.record().tariff.is_some() {
            // One may have begun since this command did.
            provider.refresh().await?;
        }
        let record = provider.record();
        let behind = line.epoch > record.epoch && record.tariff.is_some();
        if behind || !line.agrees(&record) {
            let epoch = line.epoch;
            return Err(CliError::OtherTerms { number, epoch });
        }
    }
    Ok(())
}

/// What is to be written beside something else, if anything is new.
pub(super) async fn update(map: &Map, online: &Online) -> Result<Option<Write>, CliError> {
    let (mut lines, version) = read(map).await?;
    let before = lines.clone();
    lines.retain(|line| {
        let mut members = online.members.iter();
        members.any(|member| *member.address.server_key() == line.server)
    });
    for connection in online.connected() {
        let new = Line::of(&connection.provider.record());
        match lines.iter_mut().find(|line| line.server == new.server) {
            Some(line) => *line = new,
            None => lines.push(new),
        }
    }
    let expect = match version {
        None => Expect::Absent,
        Some(version) => Expect::Version(version),
    };
    Ok((lines != before).then(|| {
        let lines: Vec<String> = lines.iter().map(Line::write).collect();
        Write::put(KEY, expect, lines.join("\n"))
    }))
}

/// Those in a map, and their version. Lines that this version of the tool cannot read say nothing.
async fn read(map: &Map) -> Result<(Vec<Line>, Option<u64>), CliError> {
    let current = map.get(KEY).await?;
    let Some(text) = current.value else {
        return Ok((Vec::new(), None));
    };
    let text = String::from_utf8(text).unwrap_or_default();
    let lines = text.lines().filter_map(Line::read).collect();
    Ok((lines, Some(current.version)))
}

#[cfg(test)]
mod tests {
    use larder_protocol::record::{Prices, Tariff};
    use larder_protocol::{Earlier, NodeId, ReceiptKey};

    use super::*;

    const POINT: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

    fn record(epoch: u32, earlier: &[(u32, RecordHash)]) -> Record {
        let point = hex::decode(POINT).unwrap();
        Record {
            server_key: ServerKey::from_slice(&point).unwrap(),
            receipt_key: ReceiptKey::from_slice(&point).unwrap(),
            node_id: NodeId::from_slice(&point).unwrap(),
            epoch,
            epoch_seconds: 60,
            tariff: Some(Tariff {
                issuers: Vec::new(),
                next_issuer: [0; 32],
                passes: None,
                earlier: earlier
                    .iter()
                    .map(|&(epoch, hash)| Earlier { epoch, hash })
                    .collect(),
                prices: Prices {
                    insert: 1,
                    lookup: 1,
                    delete: 1,
                    breakglass: 1,
                    transfer: 1,
                },
                refunds: Vec::new(),
                denominations: Vec::new(),
                breakglass_seconds: 1,
                next_takes: 1,
            }),
        }
    }

    #[test]
    fn a_line_agrees_with_the_same_terms_and_with_later_ones_that_name_them_or_are_too_late_to() {
        let first = record(7, &[]);
        let line = Line::of(&first);
        assert!(line.agrees(&first));
        let mut other = first.clone();
        other.epoch_seconds += 1;
        assert!(!line.agrees(&other));
        assert!(line.agrees(&record(8, &[(7, first.hash())])));
        assert!(!line.agrees(&record(8, &[(7, other.hash())])));
        assert!(line.agrees(&record(40, &[(30, other.hash())])));
    }

    #[test]
    fn a_line_reads_back_and_what_is_none_says_nothing() {
        let line = Line::of(&record(7, &[]));
        assert!(Line::read(&line.write()) == Some(line.clone()));
        for text in [
            "",
            "a b c",
            &line.write()[..100],
            &format!("x{}", line.write()),
        ] {
            assert!(Line::read(text).is_none(), "{text}");
        }
    }
}
