//! Everything that holds for one epoch: the record that is published, the keys behind it, the
//! prices. Made when the epoch is entered and replaced as a whole by the next one.
//!
//! A request is judged, performed and answered under the terms that held when it came in; when
//! they are over before it is durable, the store declines its payment.

use larder_credentials::ledger::{Floor, Teller};
use larder_credentials::{Epoch, Issuer, IssuerKey, Service};
use larder_protocol::record::Tariff;
use larder_protocol::{
    BlobHash, Done, Op, Pass, Receipt, ReceiptKey, Record, RecordHash, Refusal, Reply, ServerKey,
    SignedRecord, SizeClass, Subject, envelope, issuer_commitment,
};
use larder_store::Epochs;
use secp256k1::Keypair;

use crate::NodeError;
use crate::identity::Identity;
use crate::offer::Offer;
use crate::passes::Passes;
use crate::step::Returned;
use crate::tariff::PriceList;

/// The terms of one epoch.
pub(crate) struct Terms {
    receipt_keypair: Keypair,
    pub(crate) server_key: ServerKey,
    pub(crate) epoch: u32,
    epoch_seconds: u32,
    /// How many epochs were entered; ages of blobs are differences of it.
    pub(crate) ordinal: u32,
    /// When the epoch was entered, unix seconds; an unpaid node has none.
    since: Option<u64>,
    /// From the opening of a breakglass cell to its deletion.
    pub(crate) breakglass_seconds: u32,
    pub(crate) signed_record: SignedRecord,
    record_hash: RecordHash,
    /// Those around the epoch; an unpaid node has none, nor has an epoch from before there were any.
    passes: Option<Passes>,
    /// Who takes payment; nobody on an unpaid node.
    pub(crate) teller: Option<Teller<PriceList>>,
}

impl Terms {
    /// The terms of a node that serves everybody for free: one epoch, for ever.
    pub(crate) fn unpaid(identity: &Identity, ordinal: u32, breakglass_seconds: u32) -> Self {
        let mut server = identity.server_keypair();
        let record = unpaid_record(identity);
        let terms = Terms {
            receipt_keypair: identity.receipt_keypair(),
            server_key: record.server_key,
            epoch: record.epoch,
            epoch_seconds: record.epoch_seconds,
            ordinal,
            since: None,
            breakglass_seconds,
            record_hash: record.hash(),
            signed_record: record.sign(&server),
            passes: None,
            teller: None,
        };
        server.non_secure_erase();
        terms
    }

    /// The terms with which the store says that its epoch was entered.
    ///
    /// # Errors
    /// [`NodeError::ForeignStore`] when they were signed by another node, or are damaged.
    pub(crate) fn of_epoch(identity: &Identity, epochs: &Epochs) -> Result<Self, NodeError> {
        let signed_record =
            SignedRecord::decode(&epochs.terms).map_err(|_| NodeError::ForeignStore)?;
        let own = unpaid_record(identity);
        let record = (signed_record.verified(&own.server_key)).ok_or(NodeError::ForeignStore)?;
        let issuer = issuer(identity, record.service(), epochs.floor);
        let published = record.credentials().and_then(Result::ok);
        let passes = Passes::around(identity, record.epoch);
        let Some(tariff) = (record.tariff.as_ref())
            .filter(|_| published.as_ref() == Some(issuer.record()))
            .filter(|tariff| {
                tariff
                    .passes
                    .is_none_or(|said| said == passes.commitments())
            })
        else {
            return Err(NodeError::ForeignStore);
        };
        Ok(Terms {
            receipt_keypair: identity.receipt_keypair(),
            server_key: record.server_key,
            epoch: record.epoch,
            epoch_seconds: record.epoch_seconds,
            ordinal: epochs.ordinal,
            since: Some(epochs.since),
            breakglass_seconds: tariff.breakglass_seconds,
            record_hash: record.hash(),
            passes: tariff.passes.map(|_| passes),
            teller: Some(Teller::new(issuer, PriceList::new(tariff.clone()))),
            signed_record,
        })
    }

    /// What clients compare.
    pub(crate) fn record_hash(&self) -> RecordHash {
        self.record_hash
    }

    /// Seconds until the next epoch is due; it never is on an unpaid node.
    pub(crate) fn left(&self, now: u64) -> Option<u64> {
        let end = self.since?.saturating_add(self.epoch_seconds.into());
        let left = end.saturating_sub(now);
        Some(if self.entered_ahead_of(now) { 0 } else { left })
    }

    /// Whether the epoch was entered by a clock that ran ahead by more than an epoch. Nobody is
    /// to wait until the time catches up with it.
    pub(crate) fn entered_ahead_of(&self, now: u64) -> bool {
        let latest = now.saturating_add(self.epoch_seconds.into());
        self.since.is_some_and(|since| since > latest)
    }

    /// The ordinal to store with a blob: 0 says that nothing was paid for it.
    pub(crate) fn paid_ordinal(&self) -> u32 {
        self.teller.as_ref().map_or(0, |_| self.ordinal)
    }

    /// What comes back for the removal of a blob that was stored with this ordinal.
    pub(crate) fn refund(&self, ordinal: u32) -> u64 {
        match &self.teller {
            Some(teller) if ordinal > 0 => {
                teller.tariff().refund(self.ordinal.saturating_sub(ordinal))
            }
            _ => 0,
        }
    }

    /// Whether the epoch has what the operator asks for now, as far as it can have: refunds come with time.
    pub(crate) fn are_those_of(&self, offer: &Offer, breakglass_seconds: u32) -> bool {
        self.teller.as_ref().is_some_and(|teller| {
            let Tariff {
                prices,
                refunds,
                denominations,
                next_takes,
                ..
            } = teller.tariff().published();
            let offered = |age: usize| offer.refunds.get(age).copied().unwrap_or_default();
            *prices == offer.prices
                && teller.tariff().refund(0) == offered(0)
                && (0..)
                    .zip(refunds)
                    .all(|(age, refund)| *refund <= offered(age))
                && *denominations == offer.denominations
                && u32::from(*next_takes) == offer.earlier_epochs
                && self.epoch_seconds == offer.epoch_seconds
                && self.breakglass_seconds == breakglass_seconds
        })
    }

    /// The contents of an answer: with a receipt if the outcome is about a key, in the size
    /// class of the request and never a larger one. `stored` is the hash of the blob that an
    /// insert or a delete was about, or of the cell of a put, `returned` what the request's payment turned into.
    ///
    /// What has a price and was paid in this epoch is answered with passes, also again, and so is a purchase: whoever
    /// pays and gets none knows that they are kept back. In a later epoch it is not, or one payment would be good for
    /// the passes of all epochs in which it is remembered.
    pub(crate) fn reply(
        &self,
        subject: &Subject,
        outcome: Result<Done, Refusal>,
        stored: Option<BlobHash>,
        returned: Option<Returned>,
        class: SizeClass,
    ) -> Vec<u8> {
        let mut reply = Reply::bare(outcome);
        reply.replacement = returned.map(|Returned { row, epoch }| {
            // There is room: a payment makes every request a big one.
            if epoch.0 == self.epoch && self.is_paid_for(subject.op) {
                reply.extension.passes = self.passes.as_ref().map(Passes::handed_out);
            }
            row
        });
        reply.receipt = Reply::finding(subject, &reply.outcome, stored).map(|finding| {
            Receipt::sign(
                &self.receipt_keypair,
                &finding,
                self.epoch,
                self.record_hash,
            )
        });
        envelope::wrap(&reply.encode(), class)
            .unwrap_or_else(|| refusal(Refusal::WrongSizeClass, class))
    }

    /// Whether tokens were paid for this, or money for tokens. A reissue takes neither.
    fn is_paid_for(&self, op: Op) -> bool {
        let teller = self.teller.as_ref();
        teller.is_some_and(|teller| op == Op::Purchase || teller.tariff().price(op) > 0)
    }

    /// What the messages of those who pay are known by.
    pub(crate) fn honoured(&self) -> &[Pass] {
        self.passes.as_ref().map_or(&[], Passes::honoured)
    }
}

impl Drop for Terms {
    fn drop(&mut self) {
        self.receipt_keypair.non_secure_erase();
    }
}

/// A refusal that came before the request was understood.
pub(crate) fn refusal(refusal: Refusal, class: SizeClass) -> Vec<u8> {
    let body = Reply::bare(Err(refusal)).encode();
    envelope::wrap(&body, class).unwrap_or_default()
}

/// The record to publish for the epoch that this floor opens, in the form in which the store
/// keeps it: whole and signed, so that no restart can publish another one for it. `previous` is
/// the epoch that it follows. Where all epochs are closed a number is left out, and the record names none before it: the
/// store may be a backup, and would pass over those that were signed since.
pub(crate) fn record_for(
    identity: &Identity,
    offer: &Offer,
    breakglass_seconds: u32,
    previous: Option<&Epochs>,
    floor: Floor,
) -> SignedRecord {
    let unpaid = unpaid_record(identity);
    let before = previous.and_then(|epochs| published(epochs, &unpaid.server_key));
    let before_tariff = before.as_ref().and_then(|record| record.tariff.as_ref());
    let promised = before_tariff.map_or_else(Vec::new, |tariff| tariff.refunds.clone());
    let follows = previous.and_then(|epochs| epochs.floor.current.0.checked_add(1));
    let is_next = follows == Some(floor.current.0);
    let named = before.as_ref().zip(before_tariff).filter(|_| is_next);
    let earlier = named.map(|(record, tariff)| tariff.earlier_with(record.epoch, record.hash()));
    let service = unpaid.service();
    let issuer = issuer(identity, service, floor);
    let next = Epoch(floor.current.0.saturating_add(1));
    let next = IssuerKey::derive(&identity.issuer_secret(), &service, next);
    let record = Record {
        epoch: floor.current.0,
        epoch_seconds: offer.epoch_seconds,
        tariff: Some(Tariff {
            issuers: issuer.record().live().map(|live| live.encode()).collect(),
            next_issuer: issuer_commitment(&next.parameters().encode()),
            passes: Some(Passes::around(identity, floor.current.0).commitments()),
            earlier: earlier.unwrap_or_default(),
            prices: offer.prices,
            refunds: offer.refunds_after(&promised),
            denominations: offer.denominations.clone(),
            breakglass_seconds,
            next_takes: offer.next_takes(),
        }),
        ..unpaid
    };
    let mut server = identity.server_keypair();
    let signed = record.sign(&server);
    server.non_secure_erase();
    signed
}

/// The record that was published for an epoch. One of which that cannot be said any more has promised no refunds,
/// and is not named by those after it.
pub(crate) fn published(epochs: &Epochs, server_key: &ServerKey) -> Option<Record> {
    let signed = SignedRecord::decode(&epochs.terms).ok()?;
    signed.verified(server_key).cloned()
}

/// Who the node is, and no more.
fn unpaid_record(identity: &Identity) -> Record {
    let (mut server, mut receipt) = (identity.server_keypair(), identity.receipt_keypair());
    let record = Record {
        server_key: ServerKey::from(server.public_key()),
        receipt_key: ReceiptKey::from(receipt.public_key()),
        node_id: identity.node_id(),
        epoch: 0,
        epoch_seconds: 0,
        tariff: None,
    };
    server.non_secure_erase();
    receipt.non_secure_erase();
    record
}

fn issuer(identity: &Identity, service: Service, floor: Floor) -> Issuer {
    let earlier = floor.current.0.saturating_sub(floor.oldest.0);
    Issuer::new(&identity.issuer_secret(), service, floor.current, earlier)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use larder_store::{Engine as _, Enter};

    use super::*;
    use crate::clock::test::At;
    use crate::folder::{Missing, open_folder};
    use crate::till::Giveaway;
    use crate::{Breakglass, Config, Desk, Offer, Sale};

    #[test]
    fn an_epoch_has_the_terms_of_its_offer_from_the_first_one_on_and_not_those_of_another() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::load(None, Some(folder.path()), []).unwrap();
        config.free_space_floor = 0;
        let (engine, identity) = open_folder(&config, Missing::Both).unwrap();
        let offer = config.offer;
        let sale = Sale {
            offer: offer.clone(),
            till: Arc::new(Giveaway),
        };
        let (breakglass, clock) = (Breakglass::default(), Arc::new(At(1_800_000_000)));
        let desk = Desk::open(engine, identity, Some(sale), breakglass, clock).unwrap();
        let seconds = breakglass.seconds;
        let others: [fn(&mut Offer); 6] = [
            |offer| offer.prices.insert += 1,
            |offer| offer.refunds[0] += 1,
            |offer| offer.refunds.clear(),
            |offer| offer.denominations[0] += 1,
            |offer| offer.epoch_seconds += 1,
            |offer| offer.earlier_epochs = 0,
        ];
        for ordinal in 1..5 {
            let terms = desk.terms();
            assert!(terms.are_those_of(&offer, seconds), "{ordinal}");
            assert!(!terms.are_those_of(&offer, seconds + 1), "{ordinal}");
            for (number, change) in others.iter().enumerate() {
                let mut other = offer.clone();
                change(&mut other);
                let same = terms.are_those_of(&other, seconds);
                assert!(!same, "{ordinal}: {number}");
            }
            desk.enter_next_epoch().unwrap();
        }
        let wider = Offer {
            earlier_epochs: offer.earlier_epochs + 1,
            ..offer
        };
        assert!(!desk.terms().are_those_of(&wider, seconds));
    }

    #[test]
    fn an_epoch_from_before_there_were_passes_goes_on_without_and_the_next_one_has_them() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::load(None, Some(folder.path()), []).unwrap();
        config.free_space_floor = 0;
        let (engine, identity) = open_folder(&config, Missing::Both).unwrap();
        let floor = Floor {
            oldest: Epoch(7),
            current: Epoch(7),
        };
        let mut record = record_for(&identity, &config.offer, 1, None, floor)
            .verified(&ServerKey::from(identity.server_keypair().public_key()))
            .unwrap()
            .clone();
        record.tariff.as_mut().unwrap().passes = None;
        let terms = record.sign(&identity.server_keypair()).encode();
        let entered = Enter {
            floor,
            since: 1_800_000_000,
            terms: terms.clone(),
            tombstones_before: 0,
        };
        engine.enter(entered).unwrap().unwrap();
        let sale = Sale {
            offer: config.offer,
            till: Arc::new(Giveaway),
        };
        let (breakglass, clock) = (Breakglass::default(), Arc::new(At(1_800_000_000)));
        let desk = Desk::open(engine, identity, Some(sale), breakglass, clock).unwrap();
        assert_eq!(desk.record().encode(), terms);
        assert!(desk.terms().honoured().is_empty());
        desk.enter_next_epoch().unwrap();
        assert_eq!(desk.terms().honoured().len(), 2);
    }
}
