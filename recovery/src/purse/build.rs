//! Building a request, and building it again after a restart.

use larder_credentials::{HolderError, InFlight, Spending};
use larder_protocol::{Call, Nonce, Payment, Request};

use super::event::Inputs;
use super::held::pair;
use super::journal::JournalError;
use super::rules::price;
use super::terms::Terms;
use super::{Inner, Purse};
use crate::RecoveryError;

impl Inner {
    /// A request in flight as it was built, and the terms it was built for.
    pub(super) fn take_built(
        &mut self,
        purse: &Purse,
        id: u64,
    ) -> Result<(InFlight, Terms), RecoveryError> {
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
}

/// Builds a request. The same arguments always give the same bytes; the nonce makes it another
/// one than any before, so that *performed* cannot mean: long ago, before a backup.
pub(super) fn build(
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
