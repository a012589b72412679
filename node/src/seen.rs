//! What a node saw: plain numbers, of which none is anybody's.

use larder_onion::Service;

use crate::tally::Tally;

/// What the node saw since its start: plain numbers, no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen {
    /// Onion messages that arrived.
    pub arrived: u64,
    /// Of those, dropped for want of room.
    pub dropped: u64,
    /// Of those that arrived, the ones that showed a pass, before they were opened.
    pub with_pass: u64,
    /// Of these, dropped for want of room.
    pub with_pass_dropped: u64,
    /// Of those that arrived, dropped because they were no requests to this node.
    pub rejected: u64,
    /// Requests for the parameter record.
    pub info: u64,
    /// Inserts.
    pub inserts: u64,
    /// Deletes.
    pub deletes: u64,
    /// Look-ups.
    pub lookups: u64,
    /// Breakglass cells put.
    pub puts: u64,
    /// Breakglass cells opened.
    pub opens: u64,
    /// Opens that were dropped unread, because they were too many.
    pub opens_unread: u64,
    /// Transfers and reissues.
    pub exchanges: u64,
    /// Quotes.
    pub quotes: u64,
    /// Purchases.
    pub purchases: u64,
    /// Payments whose proofs were checked.
    pub verified: u64,
    /// The batches in which they were checked.
    pub batches: u64,
    /// How many batches were being checked at the same time, at most.
    pub batches_at_once: u64,
    /// Retries of what had been performed.
    pub replayed: u64,
    /// Requests that should have paid and did not try to.
    pub unpaid: u64,
    /// Payments of another price than the record's.
    pub wrong_price: u64,
    /// Payments with credentials of an epoch that is not accepted, or made before an epoch ended.
    pub wrong_epoch: u64,
    /// Payments whose proofs do not hold.
    pub bad_proof: u64,
    /// Payments with credentials or claims that were used before.
    pub already_spent: u64,
    /// Requests that could not be read.
    pub malformed: u64,
    /// Answers queued for a peer.
    pub answered: u64,
    /// Answers that found no room.
    pub undelivered: u64,
}

impl Seen {
    /// As the network side and the desk have counted.
    pub(crate) fn of(service: &Service, tally: &Tally) -> Self {
        let network = service.counters();
        Seen {
            arrived: network.arrived,
            dropped: network.dropped + tally.shed.read(),
            with_pass: network.with_pass,
            with_pass_dropped: network.with_pass_dropped,
            rejected: network.rejected,
            info: tally.info.read(),
            inserts: tally.inserts.read(),
            deletes: tally.deletes.read(),
            lookups: tally.lookups.read(),
            puts: tally.puts.read(),
            opens: tally.opens.read(),
            opens_unread: tally.opens_unread.read(),
            exchanges: tally.exchanges.read(),
            quotes: tally.quotes.read(),
            purchases: tally.purchases.read(),
            verified: tally.verified.read(),
            batches: tally.batches.read(),
            batches_at_once: tally.verifying.most(),
            replayed: tally.replayed.read(),
            unpaid: tally.unpaid.read(),
            wrong_price: tally.wrong_price.read(),
            wrong_epoch: tally.wrong_epoch.read(),
            bad_proof: tally.bad_proof.read(),
            already_spent: tally.already_spent.read(),
            malformed: tally.malformed.read(),
            answered: network.answered,
            undelivered: network.undelivered,
        }
    }
}
