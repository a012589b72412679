//! What a storage node in memory answers, and what it has then.

use std::collections::HashMap;

use larder_credentials::ledger::{LedgerError, Outcome, Tariff as _};
use larder_credentials::{Epoch, Refusal as Declined, Status};
use larder_protocol::{
    Blob, BlobHash, BreakglassOpen, BreakglassPut, Call, Cell, Done, Key, Op, OpenedCell, Pass,
    Payment, Quote, Quoted, Receipt, Record, Refusal, Reply, Request, SizeClass, Voucher, envelope,
};

use super::{
    BREAKGLASS_SECONDS, Book, INSERT, LOOKUP, PUT, REFUNDS, State, Trick, VOUCHER_KEY, passes,
};
use crate::shelf::keypair;

pub(crate) fn read(contents: &[u8]) -> Request {
    let body = envelope::unwrap(contents).expect("clients send envelopes");
    Request::decode(body).expect("clients send requests")
}

impl State {
    /// The answer to a request, as it came.
    pub(super) fn serve(&mut self, contents: &[u8]) -> Vec<u8> {
        let request = read(contents);
        let class = SizeClass::of(contents);
        if request.payment != Payment::None {
            assert_eq!(class, SizeClass::Big, "nothing paid is small");
        }
        let reply = match (&request.call, &request.payment) {
            (Call::Info, _) => {
                let record = self.record.clone().sign(&keypair(1));
                Reply::bare(Ok(Done::Info(Box::new(record))))
            }
            (Call::Quote(quote), _) => {
                let refusal = self.refuses_quote.take();
                Reply::bare(refusal.map_or_else(|| self.quote(quote), Err))
            }
            (Call::BreakglassOpen(open), _) => self.open_cell(&request, open),
            (_, Payment::Credentials(core)) => self.paid(&request, core),
            (_, Payment::None) => Reply::bare(Err(Refusal::WrongPrice { price: 1 })),
        };
        let small = Reply::bare(Err(Refusal::WrongSizeClass));
        envelope::wrap(&reply.encode(), class)
            .or_else(|| envelope::wrap(&small.encode(), class))
            .expect("a reply fits")
    }

    fn quote(&mut self, quote: &Quote) -> Result<Done, Refusal> {
        let tariff = self.record.tariff.as_ref().expect("a price list");
        if !tariff.denominations.contains(&quote.tokens) {
            return Err(Refusal::NotOffered);
        }
        let voucher = quote.voucher.as_deref().map(Voucher::decode).transpose();
        let voucher = voucher.map_err(|_| Refusal::BadVoucher)?;
        if let Some(voucher) = &voucher {
            let worth = quote.tokens * quote.tags.len() as u64;
            if !voucher.genuine(&VOUCHER_KEY) || voucher.tokens != worth {
                return Err(Refusal::BadVoucher);
            }
            let used = self.vouchers.get(&voucher.id);
            if used.is_some_and(|tags| *tags != quote.tags) {
                return Err(Refusal::VoucherUsed);
            }
        }
        if !self.quotes.contains_key(&quote.tags) {
            // All of them or none, like the real store.
            let mut known = self.quotes.keys().flatten();
            if known.any(|tag| quote.tags.contains(tag)) {
                return Err(Refusal::AlreadyClaimed);
            }
            for tag in &quote.tags {
                let opened = self.ledger.open_claim(tag, [9; 32], quote.tokens);
                opened.expect("a tag that is new");
            }
            self.quotes.insert(quote.tags.clone(), false);
            let voucher = voucher.iter().map(|voucher| voucher.id);
            self.vouchers
                .extend(voucher.map(|id| (id, quote.tags.clone())));
        }
        let paid = self.quotes.get_mut(&quote.tags).expect("inserted above");
        if voucher.is_some() {
            *paid = true;
            let tags = quote.tags.iter();
            tags.for_each(|tag| self.ledger.mark_paid(tag).expect("opened above"));
        }
        Ok(Done::Quoted(Quoted {
            paid: *paid,
            expires: 1_000,
            request: if *paid { "" } else { "lnbc1pay" }.to_owned(),
        }))
    }

    fn open_cell(&mut self, request: &Request, open: &BreakglassOpen) -> Reply {
        assert_eq!(request.payment, Payment::None, "opening a cell is free");
        let now = self.now;
        self.cells
            .retain(|_, (.., end)| end.is_none_or(|end| now < end));
        let outcome = match self.cells.get_mut(&open.key) {
            _ if !open.genuine(&self.record.server_key, request.nonce) => {
                let blob_hash = BlobHash([0; 32]);
                Err(Refusal::BadSignature { blob_hash })
            }
            Some((sequence, cell, end)) => {
                let end = *end.get_or_insert(now + u64::from(BREAKGLASS_SECONDS));
                Ok(Done::Cell(Box::new(OpenedCell {
                    sequence: *sequence,
                    cell: cell.clone(),
                    seconds: (end - now) as u32,
                })))
            }
            None => Err(Refusal::Absent),
        };
        let mut reply = Reply::bare(outcome);
        let finding = Reply::finding(&request.subject(), &reply.outcome, None);
        let (epoch, record) = (self.record.epoch, self.record.hash());
        reply.receipt =
            finding.map(|finding| Receipt::sign(&keypair(101), &finding, epoch, record));
        reply
    }

    fn paid(&mut self, request: &Request, core: &[u8]) -> Reply {
        if let Some((times, refusal)) = &mut self.refuses
            && *times > 0
        {
            *times -= 1;
            return Reply::bare(Err(refusal.clone()));
        }
        if self.trick == Some(Trick::RefusesItsEpoch) {
            let (current, oldest) = (self.record.epoch, 0);
            return Reply::bare(Err(Refusal::WrongEpoch { current, oldest }));
        }
        self.check_binding(request, core);
        let Self {
            ledger,
            blobs,
            tombstones,
            cells,
            record,
            ..
        } = self;
        let mut first = None;
        let consumed = ledger.storage().references();
        let trick = self.trick;
        let answered = ledger.process(core, |_, _| {
            let (outcome, adjust) = match &request.call {
                Call::BreakglassPut(put) => put_cell(cells, record, put),
                call => apply(blobs, tombstones, record, call),
            };
            let status = match &outcome {
                Err(refusal) if !matches!(request.call, Call::Lookup(_)) => {
                    Status(Reply::code(&Err(refusal.clone())))
                }
                _ => Status::DONE,
            };
            first = Some(outcome);
            let adjust = match trick {
                Some(Trick::GivesBack(tokens)) => tokens,
                _ => adjust,
            };
            Ok(Outcome { status, adjust })
        });
        let mut reply = match answered {
            Ok(performed @ larder_credentials::Reply::Performed { .. }) => {
                let outcome = first.unwrap_or_else(|| self.now(&request.call));
                let mut reply = Reply::bare(outcome);
                if self.ledger.storage().references() > consumed {
                    self.performed.push(request.call.op());
                }
                reply.extension.passes = self.passes_for(request, core);
                reply.replacement = Some(performed.encode());
                reply
            }
            Ok(not_performed) => Reply::bare(Err(Refusal::AlreadySpent {
                row: not_performed.encode(),
            })),
            Err(LedgerError::Refused(declined)) => Reply::bare(Err(refused(declined))),
            Err(error) => panic!("{error}"),
        };
        let stored = match &request.call {
            Call::Insert(insert) => Some(insert.blob.hash()),
            Call::Delete(delete) => self.tombstones.get(&delete.key).copied(),
            Call::BreakglassPut(put) => Some(put.cell.hash()),
            _ => None,
        };
        let finding = Reply::finding(&request.subject(), &reply.outcome, stored);
        reply.receipt = finding.map(|finding| {
            Receipt::sign(
                &keypair(101),
                &finding,
                self.record.epoch,
                self.record.hash(),
            )
        });
        self.bend(&mut reply);
        reply
    }

    /// What a real storage node checks before the ledger is asked.
    fn check_binding(&self, request: &Request, core: &[u8]) {
        let core = larder_credentials::Request::decode(&self.record.service(), core);
        let core = core.expect("clients send cores");
        assert_eq!(Some(core.op()), request.call.op().paid_as());
        if request.call.key().is_some() {
            assert_eq!(core.parameters(), request.call.digest());
        }
    }

    /// The passes that come with an answer, the first or a later one: those of the epoch in which it was paid,
    /// as long as that lasts.
    fn passes_for(&self, request: &Request, core: &[u8]) -> Option<Box<[Pass; 2]>> {
        let op = request.call.op();
        if op != Op::Purchase {
            Book.price(op.paid_as()?, &[])?;
        }
        self.record.tariff.as_ref()?.passes?;
        let core = larder_credentials::Request::decode(&self.record.service(), core);
        let paid = core.expect("clients send cores").out_epoch();
        (paid == Epoch(self.record.epoch)).then(|| Box::new(passes(paid.0)))
    }

    fn bend(&mut self, reply: &mut Reply) {
        match self.trick {
            Some(Trick::KeepsChange) => reply.replacement = None,
            Some(Trick::BendsProof) => {
                if let Some(replacement) = &mut reply.replacement {
                    *replacement.last_mut().expect("not empty") ^= 1;
                }
            }
            Some(Trick::NoReceipt) => reply.receipt = None,
            Some(Trick::KeepsPasses) => reply.extension.passes = None,
            Some(Trick::BendsPass(which)) => {
                if let Some(passes) = &mut reply.extension.passes {
                    let mut bytes = *passes[which].as_bytes();
                    bytes[31] ^= 1;
                    passes[which] = Pass::from_bytes(bytes);
                }
            }
            _ => {}
        }
    }

    /// The answer to a request that was performed before: what is true now.
    fn now(&self, call: &Call) -> Result<Done, Refusal> {
        let Some(key) = call.key() else {
            return Ok(Done::Exchanged);
        };
        match (call, self.blobs.get(key)) {
            (Call::BreakglassPut(_), _) => Ok(Done::CellStored),
            (Call::Insert(insert), Some((blob, _))) if *blob == insert.blob => Ok(Done::Inserted),
            (Call::Lookup(_), Some((blob, _))) => Ok(Done::Found(blob.clone())),
            (_, Some((blob, _))) => Err(Refusal::AlreadyExists {
                blob_hash: blob.hash(),
            }),
            (_, None) if self.tombstones.contains_key(key) => Err(Refusal::Deleted),
            (_, None) => Err(Refusal::Absent),
        }
    }
}

/// Writes a cell: the outcome, and what goes back.
fn put_cell(
    cells: &mut HashMap<Key, (u64, Cell, Option<u64>)>,
    record: &Record,
    put: &BreakglassPut,
) -> (Result<Done, Refusal>, u64) {
    let blob_hash = put.cell.hash();
    let current = cells.get(&put.key).map(|(sequence, ..)| *sequence);
    match current {
        _ if !put.genuine(&record.server_key) => {
            (Err(Refusal::BadSignature { blob_hash }), PUT - LOOKUP)
        }
        Some(current) if current >= put.sequence => {
            (Err(Refusal::StaleSequence { current }), PUT - LOOKUP)
        }
        _ => {
            cells.insert(put.key, (put.sequence, put.cell.clone(), None));
            (Ok(Done::CellStored), 0)
        }
    }
}

/// Performs an operation on a key: the outcome, and what goes back.
fn apply(
    blobs: &mut HashMap<Key, (Blob, u32)>,
    tombstones: &mut HashMap<Key, BlobHash>,
    record: &Record,
    call: &Call,
) -> (Result<Done, Refusal>, u64) {
    let Some(key) = call.key() else {
        return (Ok(Done::Exchanged), 0);
    };
    let gone = match tombstones.contains_key(key) {
        true => Refusal::Deleted,
        false => Refusal::Absent,
    };
    match (call, blobs.get(key)) {
        (Call::Insert(_), Some((blob, _))) => {
            let blob_hash = blob.hash();
            (Err(Refusal::AlreadyExists { blob_hash }), INSERT - LOOKUP)
        }
        (Call::Insert(_), None) if gone == Refusal::Deleted => (Err(gone), INSERT - LOOKUP),
        (Call::Insert(insert), None) => {
            blobs.insert(*key, (insert.blob.clone(), record.epoch));
            (Ok(Done::Inserted), 0)
        }
        (Call::Lookup(_), Some((blob, _))) => (Ok(Done::Found(blob.clone())), 0),
        (Call::Delete(delete), Some((blob, _)))
            if !delete.permits(&record.server_key, blob.hash()) =>
        {
            let blob_hash = blob.hash();
            (Err(Refusal::BadSignature { blob_hash }), 0)
        }
        (Call::Delete(_), Some((blob, epoch))) => {
            let age = (record.epoch - epoch) as usize;
            let refund = REFUNDS.get(age).copied().unwrap_or(0);
            tombstones.insert(*key, blob.hash());
            blobs.remove(key);
            (Ok(Done::Removed), refund)
        }
        _ => (Err(gone), 0),
    }
}

fn refused(declined: Declined) -> Refusal {
    match declined {
        Declined::WrongPrice { price } => Refusal::WrongPrice {
            price: price.unsigned_abs(),
        },
        Declined::WrongEpoch { current, oldest } => Refusal::WrongEpoch {
            current: current.0,
            oldest: oldest.0,
        },
        Declined::UnknownClaim => Refusal::UnknownClaim,
        Declined::NotPaid => Refusal::NotPaid,
        Declined::AlreadyClaimed => Refusal::AlreadyClaimed,
        Declined::UnknownOperation => Refusal::NotOffered,
        Declined::Halted => Refusal::Halted,
        other => panic!("a client's request was refused: {other}"),
    }
}
