//! The closing table: what it took, and what each party saw.

use serde_json::{Value, json};

use crate::commands::demo::parties::Parties;
use crate::commands::demo::{Books, Phase};
use crate::error::CliError;
use crate::output::count;

/// Bytes of a big onion message on the wire: the only size that the relay sees.
const ONION: u64 = 32_834;

pub(crate) struct Table {
    phases: Vec<Phase>,
    books: Books,
    relay_peers: u64,
    relay_messages: u64,
    inserts: u64,
    lookups: u64,
    deletes: u64,
    blobs_left: u64,
    disk_bytes: u64,
}

impl Table {
    pub(crate) fn new(phases: &[Phase], books: Books, parties: &Parties) -> Result<Self, CliError> {
        let received = parties.relay.received();
        let (seen, usage) = (parties.node.seen(), parties.node.usage()?);
        Ok(Table {
            phases: phases.to_vec(),
            books,
            relay_peers: received.len() as u64,
            relay_messages: received.iter().map(|(_, messages)| messages).sum(),
            inserts: seen.inserts,
            lookups: seen.lookups,
            deletes: seen.deletes,
            blobs_left: usage.blobs,
            disk_bytes: usage.disk_bytes,
        })
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "phases": self.phases.iter().map(Phase::json).collect::<Vec<_>>(),
            "relay": { "node_ids": self.relay_peers, "messages": self.relay_messages },
            "tokens": {
                "bought": self.books.bought,
                "before": self.books.before,
                "paid": self.books.paid,
                "not_found": self.books.not_found,
                "held": self.books.held,
                "outstanding": self.books.outstanding,
            },
            "storage_node": {
                "inserts": self.inserts,
                "lookups": self.lookups,
                "deletes": self.deletes,
                "blobs_left": self.blobs_left,
                "disk_bytes": self.disk_bytes,
            },
        })
    }

    pub(crate) fn text(&self) -> String {
        let heads = [
            "",
            "blobs",
            "bytes",
            "round trips",
            "retries",
            "tokens",
            "refunded",
            "left",
            "time",
        ];
        let mut rows = vec![heads.map(str::to_owned)];
        rows.extend(self.phases.iter().map(Phase::cells));
        let mut text = String::new();
        for row in rows {
            for (at, cell) in row.iter().enumerate() {
                text += &match at {
                    0 => format!("{cell:<10}"),
                    _ => format!("{cell:>12}"),
                };
            }
            text.push('\n');
        }
        text.push('\n');
        let saw = |who: &str, what: String| format!("{who:<13} {what}\n");
        text += &saw(
            "wallet saw",
            "everything; it kept twelve words, and connected to the LSP relay only".to_owned(),
        );
        text += &saw(
            "relay saw",
            format!(
                "{} messages of {} bytes between the storage node and {} node ids that were \
                 never seen before and will never be seen again; nothing inside them",
                count(self.relay_messages),
                count(ONION),
                count(self.relay_peers.saturating_sub(1)),
            ),
        );
        text += &saw(
            "storage node",
            format!(
                "saw {} inserts, {} look-ups and {} deletes, all from the relay: not who, not \
                 whose, not what; it keeps {} blobs",
                count(self.inserts),
                count(self.lookups),
                count(self.deletes),
                count(self.blobs_left),
            ),
        );
        let Books {
            bought,
            not_found,
            held,
            outstanding,
            ..
        } = self.books;
        text += &saw(
            "its books",
            format!(
                "{} tokens sold; {} outstanding: {} in the wallet, {} in use when it was lost and not found",
                count(bought),
                count(outstanding),
                count(held),
                count(not_found),
            ),
        );
        text.pop();
        text
    }
}
