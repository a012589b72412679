//! The life of one paid request up to its answer: chosen, built, written down, sent.
//!
//! ```text
//! idle ── Sent ──▶ in flight ── Settled ──▶ idle (the pair that came back)
//!                   │  │ └───── Healed ───▶ idle (it had been spent: what replaced it)
//!                   │  └─────── Released ─▶ idle (refused untouched)
//!                   └── Sent again, with the same inputs, when the epoch has changed
//! ```
//!
//! Who drives it meanwhile is in [`lease`](super::lease).

use larder_protocol::extension::Extension;
use larder_protocol::{Call, Key, Nonce, Op, Payment, Refusal, Request};

use super::build::build;
use super::choice::{self, Choice, choose};
use super::event::{Event, Inputs};
use super::held::Mark;
use super::lease::{Exchange, Lease};
use super::rules::price;
use super::sent::{Asked, Sent};
use super::terms::Terms;
use super::{Inner, LAST, Purse};
use crate::RecoveryError;

/// Requests in flight for which credentials are taken off a page; more are under way only with what is off it
/// already. About so many pairs are not found after a loss.
pub(super) const BUSY: usize = 4;

/// What to do next on the way to a call.
pub(crate) enum Next<'p> {
    /// Send this.
    Send(Lease<'p>, Role),
    /// Wait until one of these is answered.
    Wait(Vec<(u64, Exchange)>),
}

/// What a request is to the call that needs tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The call itself.
    Call,
    /// Somebody's from before, whose answer brings its tokens back.
    Orphan,
    /// One that exchanges credentials for others that can pay.
    Exchange,
}

/// A request and its number.
type Numbered = (u64, Request);

impl Purse {
    /// The request of an equal call whose answer nobody has heard, to wait for it. Somebody else may
    /// be driving it; what becomes of it then is known once that one is answered.
    pub(crate) fn adopt(&self, digest: &[u8; 32]) -> Option<Next<'_>> {
        let mut inner = self.lock();
        let book = &inner.book;
        let sent = book.sent.iter().map(|(id, sent)| (*id, &sent.asked));
        let kept = book.kept.iter().map(|(id, asked)| (*id, asked));
        let unheard = kept.filter(|(id, _)| !inner.heard.contains(id));
        let equal = |(_, asked): &(u64, &Asked)| asked.digest == *digest;
        let free = sent.clone().chain(unheard).filter(equal);
        let found = free
            .filter(|(id, _)| !inner.is_driven(*id))
            .map(|(id, asked)| (id, asked.request.clone()))
            .next();
        if let Some((id, request)) = found {
            let lease = self.lease(&mut inner, id, request);
            return Some(Next::Send(lease, Role::Call));
        }
        let driven = sent.filter(equal);
        let exchanges: Vec<_> = driven
            .filter_map(|(id, _)| Some((id, inner.driven.get(&id)?.clone()?)))
            .collect();
        (!exchanges.is_empty()).then_some(Next::Wait(exchanges))
    }

    /// A request in flight that nobody waits for, about the same key and of another call than
    /// this. Answers to such that nobody has asked for again count as heard: whoever owns the key
    /// has gone on to something else.
    pub(crate) fn before(&self, key: &Key, digest: &[u8; 32]) -> Option<Lease<'_>> {
        let mut inner = self.lock();
        let other = |asked: &Asked| asked.is_about(key) && asked.digest != *digest;
        let kept = inner.book.kept.iter();
        let stale: Vec<u64> = kept
            .filter(|(id, asked)| other(asked) && !inner.is_driven(**id))
            .map(|(id, _)| *id)
            .collect();
        inner.heard.extend(stale);
        let (id, request) = inner.orphan(|sent| other(&sent.asked))?;
        Some(self.lease(&mut inner, id, request))
    }

    /// All requests in flight that nobody waits for.
    pub(crate) fn orphans(&self) -> Vec<Lease<'_>> {
        let mut inner = self.lock();
        let sent = inner.book.sent.iter();
        let orphans: Vec<Numbered> = sent
            .filter(|(id, _)| !inner.is_driven(**id))
            .map(|(id, sent)| (*id, sent.asked.request.clone()))
            .collect();
        let leases = orphans.into_iter();
        leases
            .map(|(id, request)| self.lease(&mut inner, id, request))
            .collect()
    }

    /// Chooses credentials for a call and writes its request down; or says what has to be
    /// settled first.
    pub(crate) fn next(
        &self,
        call: &Call,
        nonce: Nonce,
        gathering: Nonce,
    ) -> Result<Next<'_>, RecoveryError> {
        let mut inner = self.lock();
        Ok(match inner.next(self, call, nonce, gathering)? {
            Some((role, (id, request))) => Next::Send(self.lease(&mut inner, id, request), role),
            None => {
                // Not those that are settled: they bring nothing, however often they are heard.
                let driven = inner.driven.iter();
                let exchanges = driven
                    .filter(|(id, _)| inner.book.sent.contains_key(id))
                    .filter_map(|(id, exchange)| Some((*id, exchange.clone()?)));
                Next::Wait(exchanges.collect())
            }
        })
    }

    /// A request that gathers credentials, when an insert could not be paid without one and
    /// nothing is in flight.
    pub(crate) fn tidy(&self, nonce: Nonce) -> Result<Option<Lease<'_>>, RecoveryError> {
        let mut inner = self.lock();
        if inner.book.now().is_none() || !inner.book.sent.is_empty() {
            return Ok(None);
        }
        let Choice::Gather(by, two) = inner.choose(Op::Insert, None)?.0 else {
            return Ok(None);
        };
        let (id, request) = inner.spend(self, two, &by.call(), nonce, choice::gathered)?;
        Ok(Some(self.lease(&mut inner, id, request)))
    }

    /// The request that collects a claim, new or in flight; `None` when it was collected.
    pub(crate) fn collect(
        &self,
        order: u64,
        which: u8,
        nonce: Nonce,
    ) -> Result<Option<Next<'_>>, RecoveryError> {
        let mut inner = self.lock();
        let open = inner.book.orders.get(&order);
        let Some(each) = open.filter(|o| !o.is_collected(which)).map(|o| o.each) else {
            return Ok(None);
        };
        let known = inner.book.sent.iter().find(|(_, sent)| {
            matches!(sent.inputs, Inputs::Claim { order: o, which: w } if (o, w) == (order, which))
        });
        let (id, request) = match known.map(|(id, sent)| (*id, sent.asked.request.clone())) {
            Some((id, request)) => {
                if let Some(Some(exchange)) = inner.driven.get(&id) {
                    return Ok(Some(Next::Wait(vec![(id, exchange.clone())])));
                }
                (id, request)
            }
            None => {
                let (inputs, outputs) = (Inputs::Claim { order, which }, choice::evenly(each));
                inner.send(self, inputs, outputs, &Call::Purchase, nonce, None)?
            }
        };
        let lease = self.lease(&mut inner, id, request);
        Ok(Some(Next::Send(lease, Role::Call)))
    }

    /// Builds a request that was refused untouched again, for the terms that hold now and
    /// with the same inputs, so that the storage node is shown nothing else of ours. Says no when
    /// these do not suffice any more; then they are free. One that somebody else has built again
    /// is good as it is.
    pub(crate) fn renew(&self, lease: &mut Lease<'_>, nonce: Nonce) -> Result<bool, RecoveryError> {
        let mut inner = self.lock();
        let Some(Sent { inputs, asked, .. }) = inner.book.sent.get(&lease.id).cloned() else {
            return Ok(false);
        };
        if inner.is_renewed(lease) {
            return Ok(true);
        }
        let call = asked.request.call;
        let terms = inner.terms()?;
        let cost = price(&terms.tariff, call.op());
        let outputs = match &inputs {
            Inputs::Claim { order, .. } => inner.book.orders.get(order).map(|o| o.each),
            Inputs::Pair(pair) if pair[0].epoch < terms.oldest() => None,
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
        inner.driven.insert(lease.id, None);
        lease.request = sent.1;
        Ok(true)
    }
}

impl Inner {
    pub(super) fn terms(&self) -> Result<Terms, RecoveryError> {
        let terms = self.book.now().cloned();
        terms.ok_or(RecoveryError::Refused(Refusal::NotOffered))
    }

    /// The next request on the way to a call; none while others have what it needs.
    fn next(
        &mut self,
        purse: &Purse,
        call: &Call,
        nonce: Nonce,
        gathering: Nonce,
    ) -> Result<Option<(Role, Numbered)>, RecoveryError> {
        self.require_unspent()?;
        self.require_within_limit(call.op())?;
        let (choice, held) = self.choose(call.op(), Some(call.digest()))?;
        let in_flight = !self.book.sent.is_empty();
        Ok(match (choice, self.orphan(|_| true)) {
            (Choice::Pay(two), _) => {
                let sent = self.spend(purse, two, call, nonce, choice::evenly)?;
                Some((Role::Call, sent))
            }
            // What leaves the page is not found after a loss: rather wait for what has left it.
            (Choice::Launder(_, two), orphan) if self.busy() && self.is_listed(two) => {
                orphan.map(|orphan| (Role::Orphan, orphan))
            }
            (Choice::Launder(by, two), _) => {
                let sent = self.spend(purse, two, &by.call(), gathering, choice::evenly)?;
                Some((Role::Exchange, sent))
            }
            (_, Some(orphan)) => Some((Role::Orphan, orphan)),
            (Choice::Gather(by, two), None) => {
                let sent = self.spend(purse, two, &by.call(), gathering, choice::gathered)?;
                Some((Role::Exchange, sent))
            }
            (_, None) if in_flight => None,
            (Choice::Last(two), None) => {
                let sent = self.spend(purse, two, call, nonce, choice::evenly)?;
                Some((Role::Call, sent))
            }
            // It is short because of what was spent elsewhere a moment ago.
            (Choice::Short(_), None) if self.spent_in_a_row > 0 => {
                self.spent_in_a_row = 0;
                return Err(RecoveryError::UsedElsewhere);
            }
            (Choice::Short(missing), None) => {
                return Err(RecoveryError::OutOfTokens {
                    needed: held.saturating_add(missing),
                    held,
                });
            }
        })
    }

    /// Whether as many requests are in flight as a wallet needs to be quick.
    fn busy(&self) -> bool {
        self.book.sent.len() >= BUSY
    }

    fn is_listed(&self, two: [usize; 2]) -> bool {
        let mut marks = two.iter().map(|&at| self.book.idle[at].mark);
        marks.any(|mark| mark == Mark::Listed)
    }

    /// What to do for an operation, and how many tokens could be spent on it at most.
    fn choose(&self, op: Op, digest: Option<[u8; 32]>) -> Result<(Choice, u64), RecoveryError> {
        let Some(terms) = self.book.now() else {
            return Err(RecoveryError::Refused(Refusal::NotOffered));
        };
        let (price, fee) = (price(&terms.tariff, op), terms.tariff.prices.transfer);
        let idle = self.book.idle.iter();
        let free = idle.filter(|held| !held.mark.is_kept() && !self.book.is_alone(held));
        let held = free.map(|held| held.amount);
        let held = held.fold(0, u64::saturating_add);
        let current = terms.credentials.current();
        Ok((choose(&self.book.idle, digest, current, price, fee), held))
    }

    /// The first request in flight that nobody waits for.
    fn orphan(&self, wanted: impl Fn(&Sent) -> bool) -> Option<Numbered> {
        let mut sent = self.book.sent.iter();
        sent.find(|(id, sent)| !self.is_driven(**id) && wanted(sent))
            .map(|(id, sent)| (*id, sent.asked.request.clone()))
    }

    /// Spends two idle credentials on a call.
    pub(super) fn spend(
        &mut self,
        purse: &Purse,
        two: [usize; 2],
        call: &Call,
        nonce: Nonce,
        divide: impl FnOnce(u64) -> [u64; 2],
    ) -> Result<Numbered, RecoveryError> {
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
    ) -> Result<Numbered, RecoveryError> {
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
            dropped: self.heard_before(LAST, call.key()),
            inputs,
            outputs,
            request: Box::new(request.clone()),
        })?;
        self.built.insert(id, built);
        Ok((id, request))
    }
}
