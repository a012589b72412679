//! Paying for an operation: what happens between a call and its answer when tokens are asked for.

use std::future::poll_fn;

use larder_protocol::{BlobHash, Call, Done, Refusal, Reply};

use crate::provider::Outcome;
use crate::purse::{Lease, Next, Purse, Role, Verdict, is_stale};
use crate::{Provider, RecoveryError};

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
    /// take effect behind this one.
    pub(crate) async fn pay(
        &self,
        purse: &Purse,
        call: &Call,
        stored: Option<BlobHash>,
    ) -> Result<Outcome, RecoveryError> {
        let digest = call.digest();
        if let Some(key) = call.key() {
            while let Some(lease) = purse.before(key, &digest)? {
                self.drive(purse, &lease).await?;
            }
        }
        loop {
            let mut lease = match purse.adopt(&digest) {
                Some(lease) => lease,
                None => self.fund(purse, call).await?,
            };
            loop {
                let reply = self.send(lease.request()).await?;
                // What is not proven does not count: it stays in flight.
                let evidence = self.evidence(lease.request(), &reply, stored).await?;
                match self.conclude(purse, &mut lease, &reply).await? {
                    Conclusion::Performed => return Ok((reply.outcome, evidence)),
                    Conclusion::Refused(refusal) => return Ok((Err(refusal), evidence)),
                    Conclusion::Renewed => {}
                    Conclusion::Again => break,
                }
            }
        }
    }

    /// Finds credentials for a call and writes its request down, settling first whatever holds
    /// the tokens it needs.
    async fn fund<'p>(&self, purse: &'p Purse, call: &Call) -> Result<Lease<'p>, RecoveryError> {
        loop {
            let nonce = self.nonce();
            let Next { lease, role } = poll_fn(|cx| purse.poll_pay(call, nonce, cx)).await?;
            if role == Role::Call {
                return Ok(lease);
            }
            // An orphan that was refused has given its tokens back; a gathering has not.
            if let Some(refusal) = self.drive(purse, &lease).await?
                && role == Role::Gathering
            {
                return Err(RecoveryError::Refused(refusal));
            }
        }
    }

    /// Sends a request whose call nobody waits for, to learn what became of its credentials.
    /// Returns the refusal, if there was one.
    pub(crate) async fn drive(
        &self,
        purse: &Purse,
        lease: &Lease<'_>,
    ) -> Result<Option<Refusal>, RecoveryError> {
        let reply = self.send(lease.request()).await?;
        if is_stale(&reply.outcome) {
            self.catch_up(purse, lease).await?;
        }
        match purse.settle(lease, &reply, false)? {
            Verdict::Refused(refusal) if purse.is_in_flight(lease) => {
                Err(RecoveryError::Refused(refusal))
            }
            Verdict::Refused(refusal) => Ok(Some(refusal)),
            Verdict::Performed | Verdict::Overtaken => Ok(None),
        }
    }

    /// Judges the answer that the caller waits for.
    pub(crate) async fn conclude(
        &self,
        purse: &Purse,
        lease: &mut Lease<'_>,
        reply: &Reply,
    ) -> Result<Conclusion, RecoveryError> {
        if is_stale(&reply.outcome) && self.catch_up(purse, lease).await? {
            return Ok(match purse.renew(lease, self.nonce())? {
                true => Conclusion::Renewed,
                false => Conclusion::Again,
            });
        }
        Ok(match purse.settle(lease, reply, true)? {
            Verdict::Performed => Conclusion::Performed,
            Verdict::Overtaken => Conclusion::Again,
            Verdict::Refused(refusal) => Conclusion::Refused(refusal),
        })
    }

    /// Learns the terms that a request in flight was refused for. `false` when it is not in
    /// flight.
    async fn catch_up(&self, purse: &Purse, lease: &Lease<'_>) -> Result<bool, RecoveryError> {
        let Some(epoch) = purse.epoch_of(lease) else {
            return Ok(false);
        };
        self.refresh().await?;
        if purse.current() == Some(epoch) {
            return Err(RecoveryError::Misbehaved(
                "it refuses the terms that it publishes",
            ));
        }
        // It may have been of an epoch that is over altogether.
        Ok(purse.is_in_flight(lease))
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
