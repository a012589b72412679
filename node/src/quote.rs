//! `Quote`: how to pay for tokens, and whether that has happened. Free; the same quote again gets
//! the same answer, and once its claims are open it costs a few look-ups.

use larder_credentials::ledger::Teller;
use larder_protocol::{Done, Quote, Quoted, Refusal};
use larder_store::{Change, Effect, Payment, StoreError};

use crate::desk::Desk;
use crate::step::{Again, Caller, Pending, Step, Verdict};
use crate::tariff::PriceList;
use crate::till::{NoPayment, Order, Ordered};

/// What the store knows of the claims of an order.
enum Known {
    /// Not all of them, or not for this payment: the commit will say what that means.
    No,
    /// All of them wait for the payment.
    Open { paid: bool, expires: u64 },
}

impl Desk {
    pub(crate) fn quote(&self, caller: Caller, teller: &Teller<PriceList>, quote: &Quote) -> Step {
        let Some(till) = self
            .till
            .as_ref()
            .filter(|_| teller.tariff().sells(quote.tokens))
        else {
            return caller.refuse(Refusal::NotOffered);
        };
        match self.engine.supply() {
            Ok(supply) if supply.halted => return self.decline(&caller, Refusal::Halted),
            Ok(_) => {}
            Err(error) => return caller.refuse(self.broken(&error)),
        }
        let order = Order {
            tokens: quote.tokens,
            tags: &quote.tags,
            voucher: quote.voucher.as_deref(),
            now: self.clock.now(),
        };
        let ordered = match till.order(&order) {
            Ok(ordered) => ordered,
            Err(NoPayment::BadVoucher) => return caller.refuse(Refusal::BadVoucher),
            Err(NoPayment::NotTaken) => return caller.refuse(Refusal::NotOffered),
            Err(error @ NoPayment::Closed) => {
                tracing::warn!("{error}");
                return caller.refuse(Refusal::Busy);
            }
        };
        match self.known(&order, &ordered) {
            // What is open stays open, also when the voucher has expired meanwhile.
            Ok(Known::Open { paid, expires }) => self.quoted(caller, ordered, paid, expires),
            Ok(Known::No) if ordered.expires <= order.now => {
                caller.refuse(match order.voucher {
                    Some(_) => Refusal::BadVoucher,
                    // An invoice that nobody paid in time: other claims get another one.
                    None => Refusal::UnknownClaim,
                })
            }
            Ok(Known::No) => {
                let change = Change::OpenClaims {
                    payment: Payment {
                        id: ordered.payment,
                        tags: quote.tags.clone(),
                        amount: quote.tokens,
                        expires: ordered.expires,
                        paid: ordered.settled,
                    },
                    now: order.now,
                };
                let (paid, expires) = (ordered.settled, ordered.expires);
                commit(caller, change, ordered.request, paid, expires)
            }
            Err(error) => caller.refuse(self.broken(&error)),
        }
    }

    /// Answers for claims that are open; notes a payment that has arrived since.
    fn quoted(&self, caller: Caller, ordered: Ordered, paid: bool, expires: u64) -> Step {
        if ordered.settled && !paid {
            let payment = ordered.payment;
            return commit(
                caller,
                Change::MarkPaid { payment },
                ordered.request,
                true,
                expires,
            );
        }
        caller.answer(Ok(quoted(ordered.request, paid, expires)), None, None)
    }

    fn known(&self, order: &Order<'_>, ordered: &Ordered) -> Result<Known, StoreError> {
        let mut known = Known::No;
        for tag in order.tags {
            known = match self.engine.claim(tag)? {
                Some(opened)
                    if opened.claim.payment == ordered.payment
                        && opened.claim.amount == order.tokens =>
                {
                    Known::Open {
                        paid: opened.claim.paid,
                        expires: opened.expires,
                    }
                }
                _ => return Ok(Known::No),
            };
        }
        Ok(known)
    }
}

fn quoted(request: String, paid: bool, expires: u64) -> Done {
    // Whoever has paid has nothing left to pay.
    let request = if paid { String::new() } else { request };
    Done::Quoted(Quoted {
        paid,
        expires,
        request,
    })
}

/// The answer, once this is durable.
fn commit(caller: Caller, change: Change, request: String, paid: bool, expires: u64) -> Step {
    let pending = Pending {
        caller,
        payment: None,
        verdict: Verdict {
            outcome: Ok(quoted(request, paid, expires)),
            stored: None,
            adjust: 0,
            again: Again::Exchange,
        },
        replacement: None,
    };
    Step::Commit(Box::new(Effect::unpaid(change)), Box::new(pending))
}
