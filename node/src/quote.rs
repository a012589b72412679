//! `Quote`: how to pay for tokens, and whether that has happened. Free; the same quote again gets
//! the same answer, and once its claims are open it costs a few look-ups.

use larder_credentials::ledger::Teller;
use larder_protocol::{Done, Quote, Quoted, Refusal};
use larder_store::{Change, Effect, Payment, StoreError};

use crate::desk::Desk;
use crate::step::{Again, Caller, Pending, Step, Verdict};
use crate::tariff::PriceList;
use crate::till::{NoPayment, Order, Ordered};

/// The claims of an order, when all of them are open, for one payment and this amount.
struct Opened {
    payment: [u8; 32],
    paid: bool,
    expires: u64,
}

impl Desk {
    pub(crate) fn quote(&self, caller: Caller, teller: &Teller<PriceList>, quote: &Quote) -> Step {
        let order = Order {
            tokens: quote.tokens,
            tags: &quote.tags,
            voucher: quote.voucher.as_deref(),
            now: self.clock.now(),
        };
        let opened = match self.opened(&order) {
            Ok(opened) => opened,
            Err(error) => return caller.refuse(self.broken(&error)),
        };
        // What is open stays open, whatever is sold today; a till is asked for nothing else.
        if opened.is_none() && !teller.tariff().sells(quote.tokens) {
            return caller.refuse(Refusal::NotOffered);
        }
        match self.engine.supply() {
            Ok(supply) if supply.halted => return self.decline(&caller, Refusal::Halted),
            Ok(_) => {}
            Err(error) => return caller.refuse(self.broken(&error)),
        }
        let ordered = self.till.as_ref().map(|till| till.order(&order));
        let ordered = match ordered.unwrap_or(Err(NoPayment::NotTaken)) {
            Ok(ordered) => ordered,
            Err(error) => return self.no_payment(caller, opened, error),
        };
        match opened {
            // Also when the voucher has expired meanwhile.
            Some(opened) if opened.payment == ordered.payment => {
                self.quoted(caller, ordered, opened.paid, opened.expires)
            }
            // Another till would be paid once more. A voucher is left to the commit: it is not
            // used up by claims that another one has opened.
            Some(opened) if opened.paid && order.voucher.is_none() => {
                caller.answer(Ok(quoted(String::new(), true, opened.expires)), None, None)
            }
            _ if ordered.expires <= order.now && order.voucher.is_some() => {
                caller.refuse(Refusal::BadVoucher)
            }
            // An invoice that nobody paid in time: other claims get another one. One that was paid
            // counts, whenever that is learned.
            _ if ordered.expires <= order.now && !ordered.settled => {
                caller.refuse(Refusal::UnknownClaim)
            }
            _ => {
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
        }
    }

    /// Answers for claims that are paid, although the till of today cannot say so; what is not
    /// paid it refuses.
    fn no_payment(&self, caller: Caller, opened: Option<Opened>, error: NoPayment) -> Step {
        if let Some(Opened {
            paid: true,
            expires,
            ..
        }) = opened
        {
            return caller.answer(Ok(quoted(String::new(), true, expires)), None, None);
        }
        caller.refuse(match error {
            NoPayment::BadVoucher => Refusal::BadVoucher,
            NoPayment::NotTaken => Refusal::NotOffered,
            NoPayment::Closed => {
                tracing::warn!("{error}");
                Refusal::Busy
            }
        })
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

    fn opened(&self, order: &Order<'_>) -> Result<Option<Opened>, StoreError> {
        let mut all: Option<Opened> = None;
        for tag in order.tags {
            let Some(known) = self.engine.claim(tag)? else {
                return Ok(None);
            };
            let payment = known.claim.payment;
            let other = all.is_some_and(|all| all.payment != payment);
            if other || known.claim.amount != order.tokens {
                return Ok(None);
            }
            all = Some(Opened {
                payment,
                paid: known.claim.paid,
                expires: known.expires,
            });
        }
        Ok(all)
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
            again: Again::Nothing,
        },
        replacement: None,
    };
    Step::Commit(Box::new(Effect::unpaid(change)), Box::new(pending))
}
