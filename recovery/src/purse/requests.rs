//! The life of one paid request: chosen, written down, sent, judged.
//!
//! ```text
//! idle ── Sent ──▶ in flight ── Settled ──▶ idle (the pair that came back)
//!                   │  │ └───── Healed ───▶ idle (it had been spent: what replaced it)
//!                   │  └─────── Released ─▶ idle (refused untouched)
//!                   └── Sent again, with the same inputs, when the epoch has changed
//! ```
//!
//! While somebody waits for the answer the request is *driven*, which the [`Lease`] stands for.
//! When that one gives up, it stays in flight: whoever makes the same call again, or is short of
//! tokens, drives it on.

use std::task::{Context, Poll};

use larder_credentials::{
    AdjustRule, Fault, HolderError, InFlight, Row, Settled, Spending, Status,
};
use larder_protocol::extension::Extension;
use larder_protocol::{Call, Done, Key, Nonce, Op, Payment, Refusal, Reply, Request};

use super::book::{Sent, Terms};
use super::choice::{self, Choice, choose};
use super::event::{Event, Inputs};
use super::held::{Held, pair};
use super::journal::JournalError;
use super::rules::{price, published};
use super::{Inner, Purse, slot};
use crate::{Purpose, RecoveryError};

/// A request that its holder is to send until it is answered. Dropped, it stays in flight.
pub(crate) struct Lease<'p> {
    purse: &'p Purse,
    id: u64,
    request: Request,
}

impl Lease<'_> {
    /// What to send; the same bytes each time.
    pub(crate) fn request(&self) -> &Request {
        &self.request
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut inner = self.purse.lock();
        inner.driven.remove(&self.id);
        inner.wake();
    }
}

/// What to send next on the way to a call.
pub(crate) enum Next<'p> {
    /// The call itself.
    This(Lease<'p>),
    /// Another request, whose answer brings the tokens it needs. A refusal of one that `gathers`
    /// would only be refused again.
    First { lease: Lease<'p>, gathers: bool },
}

/// What an answer means for its request.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It was performed: the outcome counts.
    Performed,
    /// It was not performed, and its pair was spent before: do it again, with another.
    Overtaken,
    /// It was refused.
    Refused(Refusal),
}

impl Purse {
    /// The request of an equal call that nobody waits for, to wait for it.
    pub(crate) fn adopt(&self, digest: &[u8; 32]) -> Option<Lease<'_>> {
        let mut inner = self.lock();
        let book = &inner.book;
        let sent = book.sent.iter().map(|(id, sent)| (*id, &sent.asked));
        let all = sent.chain(book.kept.iter().map(|(id, asked)| (*id, asked)));
        let (id, request) = all
            .filter(|(id, asked)| asked.digest == *digest && !inner.driven.contains(id))
            .map(|(id, asked)| (id, asked.request.clone()))
            .next()?;
        Some(self.lease(&mut inner, id, request))
    }

    /// A request in flight that nobody waits for, about this key if one is given, and not this
    /// call. Answers about the key that nobody has asked for again are dropped: its owner has
    /// gone on to something else.
    pub(crate) fn orphan(
        &self,
        except: Option<(&Key, &[u8; 32])>,
    ) -> Result<Option<Lease<'_>>, RecoveryError> {
        let mut inner = self.lock();
        if let Some((key, digest)) = except {
            let stale = inner.book.kept.iter().filter(|(id, asked)| {
                asked.is_about(key) && asked.digest != *digest && !inner.driven.contains(id)
            });
            for id in stale.map(|(id, _)| *id).collect::<Vec<_>>() {
                inner.record(Event::Dropped { id })?;
            }
        }
        let found = inner.orphan(|sent| {
            except.is_none_or(|(key, digest)| {
                sent.asked.is_about(key) && sent.asked.digest != *digest
            })
        });
        Ok(found.map(|(id, request)| self.lease(&mut inner, id, request)))
    }

    /// Chooses credentials for a call and writes its request down; or says what has to be
    /// settled first; or waits for what others have in flight.
    pub(crate) fn poll_pay(
        &self,
        call: &Call,
        nonce: Nonce,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Next<'_>, RecoveryError>> {
        let mut inner = self.lock();
        let needed = match inner.choose(call.op()) {
            Ok((Choice::Pay(two), _)) => {
                let sent = inner.spend(self, two, call, nonce, choice::evenly);
                return Poll::Ready(
                    sent.map(|(id, request)| Next::This(self.lease(&mut inner, id, request))),
                );
            }
            Ok((choice, held)) => (choice, held),
            Err(error) => return Poll::Ready(Err(error)),
        };
        if let Some((id, request)) = inner.orphan(|_| true) {
            let lease = self.lease(&mut inner, id, request);
            return Poll::Ready(Ok(Next::First {
                lease,
                gathers: false,
            }));
        }
        if !inner.book.sent.is_empty() {
            inner.wait(cx);
            return Poll::Pending;
        }
        let gathered = match needed {
            (Choice::Short(missing), held) => Err(RecoveryError::OutOfTokens {
                needed: held.saturating_add(missing),
                held,
            }),
            (choice, _) => inner.gather(self, choice, nonce),
        };
        Poll::Ready(gathered.map(|(id, request)| Next::First {
            lease: self.lease(&mut inner, id, request),
            gathers: true,
        }))
    }

    /// A request that gathers credentials, when an insert could not be paid without one and
    /// nothing is in flight.
    pub(crate) fn tidy(&self, nonce: Nonce) -> Result<Option<Lease<'_>>, RecoveryError> {
        let mut inner = self.lock();
        if inner.book.now().is_none() || !inner.book.sent.is_empty() {
            return Ok(None);
        }
        let sent = match inner.choose(Op::Insert)?.0 {
            Choice::Pay(_) | Choice::Short(_) => return Ok(None),
            choice => inner.gather(self, choice, nonce)?,
        };
        Ok(Some(self.lease(&mut inner, sent.0, sent.1)))
    }

    /// A request that moves a pair into the current epoch, if one is due, or when the next
    /// one is.
    pub(crate) fn reissue(
        &self,
        now: u64,
        nonce: Nonce,
    ) -> Result<Result<Lease<'_>, Option<u64>>, RecoveryError> {
        let mut inner = self.lock();
        let due = inner.due(self);
        let Some((at, two)) = due else {
            return Ok(Err(None));
        };
        if at > now {
            return Ok(Err(Some(at)));
        }
        let (id, request) = inner.spend(self, two, &Call::Reissue, nonce, choice::evenly)?;
        Ok(Ok(self.lease(&mut inner, id, request)))
    }

    /// The request that collects a claim, new or in flight; `None` when it was collected.
    pub(crate) fn poll_collect(
        &self,
        order: u64,
        which: u8,
        nonce: Nonce,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Lease<'_>>, RecoveryError>> {
        let mut inner = self.lock();
        let open = inner.book.orders.get(&order);
        let Some(each) = open.filter(|o| !o.is_collected(which)).map(|o| o.each) else {
            return Poll::Ready(Ok(None));
        };
        let known = inner.book.sent.iter().find_map(|(id, sent)| {
            let this = matches!(sent.inputs, Inputs::Claim { order: o, which: w } if (o, w) == (order, which));
            this.then(|| (*id, sent.asked.request.clone()))
        });
        let sent = match known {
            Some((id, _)) if inner.driven.contains(&id) => {
                inner.wait(cx);
                return Poll::Pending;
            }
            Some(sent) => Ok(sent),
            None => {
                let inputs = Inputs::Claim { order, which };
                inner.send(
                    self,
                    inputs,
                    choice::evenly(each),
                    &Call::Purchase,
                    nonce,
                    None,
                )
            }
        };
        Poll::Ready(sent.map(|(id, request)| Some(self.lease(&mut inner, id, request))))
    }

    /// The epoch that a request was built for.
    pub(crate) fn epoch_of(&self, lease: &Lease<'_>) -> Option<larder_credentials::Epoch> {
        let inner = self.lock();
        inner.book.sent.get(&lease.id).map(|sent| sent.asked.epoch)
    }

    /// Builds a request that was refused untouched again, for the terms that hold now and
    /// with the same inputs, so that the storage node is shown nothing else of ours. Says no when
    /// these do not suffice any more; then they are free.
    pub(crate) fn renew(&self, lease: &mut Lease<'_>, nonce: Nonce) -> Result<bool, RecoveryError> {
        let mut inner = self.lock();
        let Some(Sent { inputs, asked, .. }) = inner.book.sent.get(&lease.id).cloned() else {
            return Ok(false);
        };
        let call = asked.request.call;
        let terms = inner.terms()?;
        let cost = price(&terms.tariff, call.op());
        let outputs = match &inputs {
            Inputs::Claim { order, .. } => inner.book.orders.get(order).map(|o| o.each),
            Inputs::Pair(pair) if pair[0].epoch < terms.oldest() => None,
            // There is nothing to move any more when a reissue ends in its own epoch.
            Inputs::Pair(pair) => {
                let total: u64 = pair.iter().map(|held| held.amount).sum();
                total.checked_sub(cost)
            }
        };
        let Some(left) = outputs else {
            inner.release(lease.id)?;
            return Ok(false);
        };
        inner.built.remove(&lease.id);
        let outputs = choice::evenly(left);
        let sent = inner.send(self, inputs, outputs, &call, nonce, Some(lease.id))?;
        lease.request = sent.1;
        Ok(true)
    }

    /// Judges the answer to a request and writes down what became of its inputs.
    ///
    /// `heard`: whoever made the call is waiting for this answer.
    pub(crate) fn settle(
        &self,
        lease: &Lease<'_>,
        reply: &Reply,
        heard: bool,
    ) -> Result<Verdict, RecoveryError> {
        let mut inner = self.lock();
        if !inner.book.sent.contains_key(&lease.id) {
            return inner.settle_kept(lease.id, reply, heard);
        }
        let id = lease.id;
        match (&reply.outcome, &reply.replacement) {
            (Err(Refusal::AlreadySpent { row }), _) => {
                let reply = decode(row)?;
                inner.heal(self, id, reply)?;
                Ok(Verdict::Overtaken)
            }
            (_, Some(replacement)) => {
                let reply = decode(replacement)?;
                inner.accept(self, id, reply, !heard)?;
                Ok(Verdict::Performed)
            }
            // Whether it was performed is not known: only the same request finds out.
            (Err(Refusal::Internal), None) => Ok(Verdict::Refused(Refusal::Internal)),
            (Err(refusal), None) if !consumes(refusal) => {
                inner.release(id)?;
                Ok(Verdict::Refused(refusal.clone()))
            }
            _ => Err(RecoveryError::Misbehaved(
                "it keeps the tokens that are left of a payment",
            )),
        }
    }

    /// Whether a request is still in flight.
    pub(crate) fn is_in_flight(&self, lease: &Lease<'_>) -> bool {
        self.lock().book.sent.contains_key(&lease.id)
    }

    fn lease(&self, inner: &mut Inner, id: u64, request: Request) -> Lease<'_> {
        inner.driven.insert(id);
        Lease {
            purse: self,
            id,
            request,
        }
    }

    /// How long after an epoch was first seen an old credential is to be moved: at a time of its
    /// own in the first quarter, which nobody else can tell.
    fn delay(&self, held: &Held, epoch_seconds: u32) -> u64 {
        let secret = self.schedule.secret(&slot(Purpose::Credential, 1)).bytes();
        let draw = crate::schedule::hmac_sha256(&secret, &[b"larder/reissue/1", &held.serial.0]);
        let (first, _) = draw.split_at(8);
        let draw = first
            .iter()
            .fold(0, |n: u64, byte| n << 8 | u64::from(*byte));
        draw % (u64::from(epoch_seconds) / 4 + 1)
    }
}

impl Inner {
    fn terms(&self) -> Result<Terms, RecoveryError> {
        let terms = self.book.now().cloned();
        terms.ok_or(RecoveryError::Refused(Refusal::NotOffered))
    }

    /// What to do for an operation, and how many tokens could be spent on it at most.
    fn choose(&self, op: Op) -> Result<(Choice, u64), RecoveryError> {
        let Some(terms) = self.book.now() else {
            return Err(RecoveryError::Refused(Refusal::NotOffered));
        };
        let (price, fee) = (price(&terms.tariff, op), terms.tariff.prices.transfer);
        let held = self.book.idle.iter().map(|held| held.amount);
        let held = held.fold(0, u64::saturating_add);
        let current = terms.credentials.current();
        Ok((choose(&self.book.idle, current, price, fee), held))
    }

    /// The first request in flight that nobody waits for.
    fn orphan(&self, wanted: impl Fn(&Sent) -> bool) -> Option<(u64, Request)> {
        let mut sent = self.book.sent.iter();
        sent.find(|(id, sent)| !self.driven.contains(id) && wanted(sent))
            .map(|(id, sent)| (*id, sent.asked.request.clone()))
    }

    fn wait(&mut self, cx: &Context<'_>) {
        if !self.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.waiting.push(cx.waker().clone());
        }
    }

    /// The pair of an older epoch that is to be moved first, and when.
    fn due(&self, purse: &Purse) -> Option<(u64, [usize; 2])> {
        let terms = self.book.now()?;
        let (current, oldest) = (terms.credentials.current(), terms.oldest());
        let seen = self.book.seen.get(&terms.record.epoch).copied()?;
        let mut old: Vec<_> = (0..self.book.idle.len())
            .map(|at| (&self.book.idle[at], at))
            .filter(|(held, _)| held.epoch < current)
            .map(|(held, at)| {
                // The next epoch may begin at any time, and then the oldest one is over.
                let delay = match held.epoch == oldest {
                    true => 0,
                    false => purse.delay(held, terms.record.epoch_seconds),
                };
                (held.epoch, seen.saturating_add(delay), at)
            })
            .collect();
        old.sort_unstable();
        let pairs = old.windows(2).filter(|two| two[0].0 == two[1].0);
        pairs
            .map(|two| (two[0].1, [two[0].2, two[1].2]))
            .min_by_key(|(at, _)| *at)
    }

    fn gather(
        &mut self,
        purse: &Purse,
        choice: Choice,
        nonce: Nonce,
    ) -> Result<(u64, Request), RecoveryError> {
        let (two, call) = match choice {
            Choice::Transfer(two) => (two, Call::Transfer),
            Choice::Pay(two) | Choice::Reissue(two) => (two, Call::Reissue),
            Choice::Short(_) => return Err(RecoveryError::Refused(Refusal::NotOffered)),
        };
        self.spend(purse, two, &call, nonce, choice::gathered)
    }

    /// Spends two idle credentials on a call.
    fn spend(
        &mut self,
        purse: &Purse,
        two: [usize; 2],
        call: &Call,
        nonce: Nonce,
        divide: fn(u64) -> [u64; 2],
    ) -> Result<(u64, Request), RecoveryError> {
        let pair = two.map(|at| self.book.idle[at].clone());
        let cost = price(&self.terms()?.tariff, call.op());
        let total = pair[0].amount.saturating_add(pair[1].amount);
        let outputs = divide(total.saturating_sub(cost));
        self.send(
            purse,
            Inputs::Pair(Box::new(pair)),
            outputs,
            call,
            nonce,
            None,
        )
    }

    /// Builds a request and writes it down. From here on it may be sent.
    fn send(
        &mut self,
        purse: &Purse,
        inputs: Inputs,
        outputs: [u64; 2],
        call: &Call,
        nonce: Nonce,
        id: Option<u64>,
    ) -> Result<(u64, Request), RecoveryError> {
        let built = build(purse, &self.terms()?, &inputs, outputs, call, &nonce)?;
        let id = id.unwrap_or(self.book.next_request);
        let request = Request {
            nonce,
            payment: Payment::Credentials(built.core().to_vec()),
            call: call.clone(),
            extension: Extension::default(),
        };
        self.record(Event::Sent {
            id,
            inputs,
            outputs,
            request: Box::new(request.clone()),
        })?;
        self.built.insert(id, built);
        Ok((id, request))
    }

    /// A request in flight as it was built, and the terms it was built for.
    fn take_built(&mut self, purse: &Purse, id: u64) -> Result<(InFlight, Terms), RecoveryError> {
        let damaged = || RecoveryError::Journal(JournalError::Damaged { at: id });
        let sent = self.book.sent.get(&id).ok_or_else(damaged)?;
        let terms = self.book.terms.get(&sent.asked.epoch.0);
        let terms = terms.cloned().ok_or_else(damaged)?;
        if let Some(built) = self.built.remove(&id) {
            return Ok((built, terms));
        }
        let Request {
            nonce,
            payment,
            call,
            ..
        } = &sent.asked.request;
        let built = build(purse, &terms, &sent.inputs, sent.outputs, call, nonce)?;
        match payment {
            Payment::Credentials(core) if core.as_slice() == built.core() => Ok((built, terms)),
            _ => Err(damaged()),
        }
    }

    fn release(&mut self, id: u64) -> Result<(), RecoveryError> {
        self.record(Event::Released { id })?;
        self.built.remove(&id);
        self.wake();
        Ok(())
    }

    /// The request was performed: its pair is replaced.
    fn accept(
        &mut self,
        purse: &Purse,
        id: u64,
        reply: larder_credentials::Reply,
        unheard: bool,
    ) -> Result<(), RecoveryError> {
        let (built, terms) = self.take_built(purse, id)?;
        let (status, adjust) = match &reply {
            larder_credentials::Reply::Performed { status, issuance } => {
                (*status, issuance.adjust())
            }
            larder_credentials::Reply::NotPerformed(_) => (Status::DONE, 0),
        };
        if !published(&terms.tariff, built.request().op(), status, adjust) {
            self.built.insert(id, built);
            return Err(RecoveryError::Misbehaved(
                "it gives back other than what it published",
            ));
        }
        let rule = AdjustRule::Exactly(adjust);
        match built.accept(&purse.root, &terms.credentials, reply, rule) {
            Ok(Settled::Performed(replaced)) => {
                let pair = Held::of(&replaced.pair);
                self.record(Event::Settled { id, unheard, pair })?;
                self.wake();
                Ok(())
            }
            Ok(Settled::Overtaken { .. }) => Err(RecoveryError::Misbehaved(
                "it says that a payment was made before, and does the work",
            )),
            Err(rejected) => {
                self.built.insert(id, rejected.in_flight);
                Err(refuted(rejected.error))
            }
        }
    }

    /// The pair of the request was spent before: what replaced it takes its place.
    fn heal(
        &mut self,
        purse: &Purse,
        id: u64,
        reply: larder_credentials::Reply,
    ) -> Result<(), RecoveryError> {
        let (built, terms) = self.take_built(purse, id)?;
        let rows = match built.accept(
            &purse.root,
            &terms.credentials,
            reply,
            AdjustRule::Exactly(0),
        ) {
            Ok(Settled::Overtaken { rows, .. }) => rows,
            Ok(Settled::Performed(_)) => {
                return Err(RecoveryError::Misbehaved(
                    "it says that a payment was made before, and shows that of now",
                ));
            }
            Err(rejected) => {
                self.built.insert(id, rejected.in_flight);
                return Err(refuted(rejected.error));
            }
        };
        let (mut spent, mut gained) = (Vec::new(), Vec::new());
        for row in &rows {
            spent.extend(row.references().iter());
            gained.extend(self.open(purse, row)?.into_iter().flatten());
        }
        self.record(Event::Healed { id, spent, gained })?;
        self.wake();
        Ok(())
    }

    /// The pair in a row; none if it is not ours, or of an epoch that has ended.
    fn open(&self, purse: &Purse, row: &Row) -> Result<Option<[Held; 2]>, RecoveryError> {
        let terms = self.terms()?;
        let (op, status) = (row.op(), row.status());
        let adjust = row.issuance().adjust();
        let then = self.book.terms.get(&row.out_epoch().0);
        if then.is_some_and(|then| !published(&then.tariff, op, status, adjust)) {
            return Err(RecoveryError::Misbehaved(
                "it gave back other than what it published",
            ));
        }
        match row.open(&purse.root, &terms.credentials) {
            Ok(pair) => Ok(Some(Held::of(&pair))),
            Err(error) if error.fault() == Fault::Issuer => Err(refuted(error)),
            Err(_) => Ok(None),
        }
    }

    /// The answer to a request whose tokens are accounted for.
    fn settle_kept(
        &mut self,
        id: u64,
        reply: &Reply,
        heard: bool,
    ) -> Result<Verdict, RecoveryError> {
        let (verdict, done) = match (&reply.outcome, &reply.replacement) {
            (_, Some(_)) => (Verdict::Performed, heard),
            // What it did is not remembered any more, as happens at the end of an epoch.
            (Err(Refusal::AlreadySpent { .. } | Refusal::WrongEpoch { .. }), None) => {
                (Verdict::Overtaken, true)
            }
            (Err(refusal), None) => (Verdict::Refused(refusal.clone()), false),
            (Ok(_), None) => {
                return Err(RecoveryError::Misbehaved(
                    "it forgot a payment that it remembers",
                ));
            }
        };
        if done && self.book.kept.contains_key(&id) {
            self.record(Event::Dropped { id })?;
        }
        Ok(verdict)
    }
}

/// Builds a request. The same arguments always give the same bytes; the nonce makes it another
/// one than any before, so that *performed* cannot mean: long ago, before a backup.
fn build(
    purse: &Purse,
    terms: &Terms,
    inputs: &Inputs,
    outputs: [u64; 2],
    call: &Call,
    nonce: &Nonce,
) -> Result<InFlight, RecoveryError> {
    let unpayable = |_| RecoveryError::Misbehaved("no payment can be made under its terms");
    let record = &terms.credentials;
    let two = match inputs {
        Inputs::Pair(two) => two,
        Inputs::Claim { order, which } => {
            let claim = purse.claim(order.saturating_add((*which).into()));
            let amount = outputs[0].saturating_add(outputs[1]);
            return InFlight::purchase(&purse.root, record, &claim, amount, Some(outputs))
                .map_err(unpayable);
        }
    };
    let digest = call.digest();
    let cost = price(&terms.tariff, call.op());
    let spending = match (call, call.op().paid_as()) {
        (Call::Transfer, _) => Spending::transfer(cost),
        (Call::Reissue, _) => Spending::reissue(),
        (_, Some(op)) => Spending::on(op, &digest, cost),
        (_, None) => return Err(unpayable(HolderError::BadOperation)),
    };
    let spending = spending.into_outputs(outputs).with_entropy(&nonce.0);
    let pair = pair(two).map_err(unpayable)?;
    pair.spend(&purse.root, record, &spending)
        .map_err(|failed| unpayable(failed.error))
}

fn decode(bytes: &[u8]) -> Result<larder_credentials::Reply, RecoveryError> {
    larder_credentials::Reply::decode(bytes)
        .map_err(|_| RecoveryError::Misbehaved("what replaces a payment cannot be read"))
}

/// An answer that its proof does not bear out.
fn refuted(error: HolderError) -> RecoveryError {
    RecoveryError::Misbehaved(match error {
        HolderError::BadIssuance => "it issues credentials under a key that it does not publish",
        HolderError::ChangedParameters => "it changed its keys within an epoch",
        HolderError::ForeignRow => "it shows another payment than the one it says was made",
        _ => "what replaces a payment does not hold",
    })
}

/// Whether a refusal is the outcome of an operation that was performed.
fn consumes(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::AlreadyExists { .. }
            | Refusal::Absent
            | Refusal::Deleted
            | Refusal::BadSignature { .. }
    )
}

/// Whether these are the terms that were refused, not the request.
pub(crate) fn is_stale(outcome: &Result<Done, Refusal>) -> bool {
    matches!(
        outcome,
        Err(Refusal::WrongEpoch { .. } | Refusal::WrongPrice { .. })
    )
}
