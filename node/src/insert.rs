//! `Insert`: add a blob; refused if the key exists or is tombstoned.

use larder_protocol::insert::Insert;
use larder_protocol::{Done, Op, Refusal};
use larder_store::{Change, Engine, Stat, StoreError};

use crate::step::{Again, Judged, Verdict, back_if_refused};
use crate::terms::Terms;

pub(crate) fn judge(
    engine: &dyn Engine,
    terms: &Terms,
    insert: Insert,
) -> Result<Judged, StoreError> {
    let Insert { key, blob } = insert;
    let blob_hash = blob.hash();
    // A retry of what is stored already needs no turn of the disk on an unpaid node.
    let refused = match engine.stat(&key)? {
        Stat::Absent => None,
        Stat::Present { blob_hash, .. } => Some(Refusal::AlreadyExists { blob_hash }),
        Stat::Deleted => Some(Refusal::Deleted),
    };
    let again = Again::Insert { key, blob_hash };
    Ok(match refused {
        None => Judged {
            change: Change::Insert {
                key,
                blob,
                epoch: terms.paid_ordinal(),
            },
            verdict: Verdict {
                outcome: Ok(Done::Inserted),
                stored: Some(blob_hash),
                adjust: 0,
                again,
            },
        },
        Some(refusal) => Judged {
            change: Change::None,
            verdict: Verdict {
                outcome: Err(refusal),
                stored: None,
                adjust: back_if_refused(terms, Op::Insert),
                again,
            },
        },
    })
}
