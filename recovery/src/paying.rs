//! Paying for an operation: what happens between a call and its answer when tokens are asked for.
//!
//! An answer counts if it is proven, brings the passes that the terms promise to everybody who pays, and replaces
//! the payment as published. If not, the storage node [misbehaves](RecoveryError::Misbehaved); the request
//! stays in flight, is sent again by whoever needs it next, and costs once.

use futures_util::future::{FutureExt, select_all};
use larder_protocol::{BlobHash, Call, Done, Nonce, Refusal, Reply};

use crate::exchange::{Shown, exchange};
use crate::provider::Outcome;
use crate::purse::{Exchange, Lease, Next, Purse, Role, Verdict, is_stale};
use crate::{Provider, RecoveryError};

/// How often the terms are asked for that a refusal speaks of, before it is somebody's fault.
const PATIENCE: u32 = 3;

/// What an answer means, once the request has been built again if it had to be.
pub(crate) enum Conclusion {
    Performed,
    /// Do it again, with other credentials.
    Again,
    /// Send what the lease says now.
    Renewed,
    Refused(Refusal),
}

impl Provider {
    /// Performs a call that costs tokens. An equal call that is in flight, from before a crash or an
    /// error, is adopted; other ones on the same key are settled first, so that they cannot
    /// take effect behind this one. The answer that counts is to a request with this nonce, if it is given.
    pub(crate) async fn pay(
        &self,
        purse: &Purse,
        call: &Call,
        stored: Option<BlobHash>,
        nonce: Option<Nonce>,
    ) -> Result<Outcome, RecoveryError> {
        self.compare_terms().await?;
        let digest = call.digest();
        if let Some(key) = call.key() {
            while let Some(mut lease) = purse.before(key, &digest) {
                self.drive(purse, &mut lease).await?;
            }
        }
        loop {
            let mut lease = self.fund(purse, call, &digest, nonce).await?;
            loop {
                let reply = self.exchange(&mut lease).await?;
                // What is not proven does not count: it stays in flight.
                let evidence = self.evidence(lease.request(), &reply, stored).await?;
                self.insist_on_passes(purse, &lease, &reply).await?;
                if nonce.is_none() {
                    self.keep(call, &reply.outcome)?;
                }
                // One that was adopted, or built again for another epoch, may have another nonce.
                let other = evidence
                    .as_ref()
                    .is_some_and(|it| nonce.is_some_and(|nonce| it.finding.nonce != nonce));
                match self.conclude(purse, &mut lease, &reply).await? {
                    Conclusion::Performed | Conclusion::Refused(_) if other => break,
                    Conclusion::Performed => return Ok((reply.outcome, evidence)),
                    Conclusion::Refused(refusal) => return Ok((Err(refusal), evidence)),
                    Conclusion::Renewed => {}
                    Conclusion::Again => break,
                }
            }
        }
    }

    /// Adopts the request of an equal call, once nobody else drives it; or finds credentials for this
    /// one and writes its request down, settling first whatever holds the tokens it needs.
    /// Meanwhile somebody else may let go of an equal one, so it looks for that each time.
    async fn fund<'p>(
        &self,
        purse: &'p Purse,
        call: &Call,
        digest: &[u8; 32],
        nonce: Option<Nonce>,
    ) -> Result<Lease<'p>, RecoveryError> {
        let nonce = || nonce.unwrap_or_else(|| self.nonce());
        loop {
            let next = match purse.adopt(digest) {
                Some(equal) => equal,
                None => purse.next(call, nonce(), self.nonce())?,
            };
            match next {
                Next::Send(lease, Role::Call) => return Ok(lease),
                // An orphan that was refused has given its tokens back.
                Next::Send(mut lease, Role::Orphan) => drop(self.drive(purse, &mut lease).await?),
                Next::Send(mut lease, Role::Exchange) => {
                    self.prepare(purse, &mut lease).await?;
                }
                Next::Wait(exchanges) => self.lend_a_hand(purse, exchanges).await?,
            }
        }
    }

    /// Drives an exchange of the purse's own. Says no when it was of terms that have changed: they
    /// are known now, and it may be due another way.
    pub(crate) async fn prepare(
        &self,
        purse: &Purse,
        lease: &mut Lease<'_>,
    ) -> Result<bool, RecoveryError> {
        match self.drive(purse, lease).await? {
            None => Ok(true),
            Some(Refusal::WrongEpoch { .. } | Refusal::WrongPrice { .. }) => Ok(false),
            Some(refusal) => Err(RecoveryError::Refused(refusal)),
        }
    }

    /// Waits until one of these exchanges is answered, and settles it if its own driver does
    /// not: that one may not be polled before this one is done.
    pub(crate) async fn lend_a_hand(
        &self,
        purse: &Purse,
        exchanges: Vec<(u64, Exchange)>,
    ) -> Result<(), RecoveryError> {
        if exchanges.is_empty() {
            return Ok(());
        }
        let answers = exchanges.into_iter().map(|(id, exchange)| {
            let answered = (id, exchange.clone());
            exchange.map(move |reply| (answered, reply))
        });
        let ((id, exchange), reply) = select_all(answers).await.0;
        // It may have been built again meanwhile; then this says nothing of what is in flight.
        let Some(lease) = purse.take_over(id, &exchange) else {
            return Ok(());
        };
        // One that failed is to be sent again by whoever needs it.
        if let Ok(reply) = reply {
            self.settle_unheard(purse, &lease, &reply).await?;
        }
        Ok(())
    }

    /// The exchange of a request of the purse's.
    pub(crate) fn exchange(&self, lease: &mut Lease<'_>) -> Exchange {
        let pass = self.pass(&lease.request().call);
        lease.exchange(|request| {
            let transport = self.transport.clone();
            let shown = Shown::With(pass);
            async move { exchange(&request, transport.as_ref(), false, shown).await }
                .boxed()
                .shared()
        })
    }

    /// Sends a request whose call nobody waits for, to learn what became of its credentials.
    /// Returns the refusal, if there was one.
    pub(crate) async fn drive(
        &self,
        purse: &Purse,
        lease: &mut Lease<'_>,
    ) -> Result<Option<Refusal>, RecoveryError> {
        let reply = self.exchange(lease).await?;
        self.settle_unheard(purse, lease, &reply).await
    }

    /// Judges an answer that the caller of its operation does not hear.
    async fn settle_unheard(
        &self,
        purse: &Purse,
        lease: &Lease<'_>,
        reply: &Reply,
    ) -> Result<Option<Refusal>, RecoveryError> {
        self.insist_on_passes(purse, lease, reply).await?;
        if is_stale(&reply.outcome) {
            self.catch_up(purse, lease, reply).await?;
        }
        match purse.settle(lease, reply, false)? {
            Verdict::Refused(refusal) if purse.is_in_flight(lease) => {
                Err(RecoveryError::Refused(refusal))
            }
            Verdict::Refused(refusal) => Ok(Some(refusal)),
            Verdict::Performed | Verdict::Overtaken | Verdict::Renewed => Ok(None),
        }
    }

    /// Judges the answer that the caller waits for.
    pub(crate) async fn conclude(
        &self,
        purse: &Purse,
        lease: &mut Lease<'_>,
        reply: &Reply,
    ) -> Result<Conclusion, RecoveryError> {
        if is_stale(&reply.outcome) && self.catch_up(purse, lease, reply).await? {
            return Ok(match purse.renew(lease, self.nonce())? {
                true => Conclusion::Renewed,
                false => Conclusion::Again,
            });
        }
        Ok(match purse.settle(lease, reply, true)? {
            Verdict::Performed => Conclusion::Performed,
            Verdict::Overtaken => Conclusion::Again,
            Verdict::Renewed => Conclusion::Renewed,
            Verdict::Refused(refusal) => Conclusion::Refused(refusal),
        })
    }

    /// Does not let an answer count that keeps back the passes that everybody is promised with it: if only one
    /// client had them, whatever shows them would be that client's. The request stays in flight. This stands in
    /// front of all that settles an answer.
    pub(crate) async fn insist_on_passes(
        &self,
        purse: &Purse,
        lease: &Lease<'_>,
        reply: &Reply,
    ) -> Result<(), RecoveryError> {
        if !purse.misses_passes(lease, reply) {
            return Ok(());
        }
        // Its epoch may be over, and what is answered again in a later one brings none.
        self.refresh().await?;
        match purse.misses_passes(lease, reply) {
            true => Err(RecoveryError::Misbehaved(
                "it keeps its passes back, which everybody is promised",
            )),
            false => Ok(()),
        }
    }

    /// Learns the terms that a request in flight was refused for. `false` when it is not in
    /// flight, or another one by now.
    async fn catch_up(
        &self,
        purse: &Purse,
        lease: &Lease<'_>,
        reply: &Reply,
    ) -> Result<bool, RecoveryError> {
        let Some(epoch) = purse.epoch_of(lease) else {
            return Ok(false);
        };
        for _ in 0..PATIENCE {
            // Somebody else may have learnt them meanwhile.
            if purse.current() <= Some(epoch) {
                self.refresh().await?;
            }
            if purse.current() > Some(epoch) {
                // It may have been of an epoch that is over altogether.
                return Ok(purse.is_in_flight(lease));
            }
        }
        Err(match reply.outcome {
            // It has closed an epoch and not published the next one yet.
            Err(Refusal::WrongEpoch { current, .. }) if current > epoch.0 => {
                RecoveryError::Refused(Refusal::Busy)
            }
            _ => RecoveryError::Misbehaved("it refuses the terms that it publishes"),
        })
    }
}

/// Whether an operation of the purse's own was done.
pub(crate) fn exchanged(outcome: &Result<Done, Refusal>) -> Result<(), RecoveryError> {
    match outcome {
        Ok(Done::Exchanged) => Ok(()),
        Ok(_) => Err(RecoveryError::Misbehaved("it answers another operation")),
        Err(refusal) => Err(RecoveryError::Refused(refusal.clone())),
    }
}
