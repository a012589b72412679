//! What an answer may give back, exactly as published: whatever a storage node could vary would
//! mark its client (`credentials.md` §9.2).

use larder_credentials::{OpCode, Status};
use larder_protocol::record::Tariff;
use larder_protocol::{Op, Refusal, Reply};

/// What an operation costs under these terms, in tokens; none when it is free.
pub(crate) fn price(tariff: &Tariff, op: Op) -> u64 {
    match op {
        Op::Insert => tariff.prices.insert,
        Op::Lookup => tariff.prices.lookup,
        Op::Delete => tariff.prices.delete,
        Op::BreakglassPut => tariff.prices.breakglass,
        Op::Transfer => tariff.prices.transfer,
        Op::Info | Op::BreakglassOpen | Op::Quote | Op::Reissue | Op::Purchase => 0,
    }
}

/// Whether an operation that ended like this gives back so many tokens.
///
/// An insert or a put that was refused costs what a look-up costs. A look-up costs the same whatever
/// it finds. A delete gives back one of the published refunds if it removed something; which
/// one, the client could tell only if it kept the epoch of every insert.
pub(crate) fn published(tariff: &Tariff, op: OpCode, status: Status, adjust: u64) -> bool {
    let is = |paid: Op| paid.paid_as() == Some(op);
    let refused = refusals().any(|code| code == status.0);
    match status {
        Status::DONE if is(Op::Delete) => adjust == 0 || tariff.refunds.contains(&adjust),
        Status::DONE => adjust == 0,
        _ if is(Op::Insert) && refused => {
            let prices = &tariff.prices;
            adjust == prices.insert.saturating_sub(prices.lookup)
        }
        _ if is(Op::BreakglassPut) && refused => {
            let prices = &tariff.prices;
            adjust == prices.breakglass.saturating_sub(prices.lookup)
        }
        _ => is(Op::Delete) && refused && adjust == 0,
    }
}

/// The codes of refusals that consume a pair.
fn refusals() -> impl Iterator<Item = u8> {
    let blob_hash = larder_protocol::BlobHash([0; 32]);
    [
        Refusal::AlreadyExists { blob_hash },
        Refusal::Absent,
        Refusal::Deleted,
        Refusal::BadSignature { blob_hash },
        Refusal::StaleSequence { current: 0 },
    ]
    .into_iter()
    .map(|refusal| Reply::code(&Err(refusal)))
}
