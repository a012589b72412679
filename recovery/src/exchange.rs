//! One request to a storage node and the answer to it, as bytes in envelopes.

use larder_protocol::{
    Call, Done, Nonce, Pass, Payment, Record, Refusal, Reply, Request, ServerKey, SignedRecord,
    SizeClass, envelope,
};
use rand::CryptoRng;
use sha2::{Digest, Sha256};

use crate::provider::unexpected;
use crate::terms::keys;
use crate::{RecoveryError, Transport};

/// The terms in the answer to a question for them, if they are signed by this key.
pub(crate) fn terms_in(
    reply: Reply,
    server: &ServerKey,
) -> Result<(SignedRecord, Record), RecoveryError> {
    match reply.outcome {
        Ok(Done::Info(signed)) => {
            let record = signed
                .verified(server)
                .cloned()
                .ok_or(RecoveryError::Misbehaved(
                    "its terms are not signed by the key in its address",
                ))?;
            keys(&record)?;
            Ok((*signed, record))
        }
        other => Err(unexpected(other)),
    }
}

/// How a request is sent.
#[derive(Clone, Copy)]
pub(crate) enum Shown {
    /// With this pass, or without.
    With(Option<Pass>),
    /// As one of somebody whom the storage node has not met: [`Transport::exchange_apart`].
    Apart,
}

/// Sends a request and reads its answer. Compact: in a small message if both fit one.
pub(crate) async fn exchange(
    request: &Request,
    transport: &dyn Transport,
    compact: bool,
    shown: Shown,
) -> Result<Reply, RecoveryError> {
    let body = request.encode();
    // The answer comes in the class of its request, and that of a look-up may be a blob. A payment is never small.
    let small = matches!(request.call, Call::Info | Call::Delete(_));
    if compact && small && request.payment == Payment::None {
        let reply = send(&body, SizeClass::Small, transport, shown).await?;
        if reply.outcome != Err(Refusal::WrongSizeClass) {
            return Ok(reply);
        }
    }
    send(&body, SizeClass::Big, transport, shown).await
}

async fn send(
    body: &[u8],
    class: SizeClass,
    transport: &dyn Transport,
    shown: Shown,
) -> Result<Reply, RecoveryError> {
    #[expect(
        clippy::expect_used,
        reason = "every request fits its class, see `envelope`"
    )]
    let contents = envelope::wrap(body, class).expect("a request fits");
    let answer = match shown {
        Shown::With(pass) => transport.exchange(contents, pass).await?,
        Shown::Apart => transport.exchange_apart(contents).await?,
    };
    envelope::unwrap(&answer)
        .and_then(Reply::decode)
        .map_err(|_| RecoveryError::Misbehaved("its answer cannot be read"))
}

/// A nonce that was never used.
pub(crate) fn nonce(rng: &mut impl CryptoRng) -> Nonce {
    let mut nonce = Nonce([0; 32]);
    rng.fill_bytes(&mut nonce.0);
    nonce
}

/// A nonce that shows what its request came after: a tagged hash (BIP 340) of parts of fixed length.
pub(crate) fn nonce_of(tag: &str, parts: &[&[u8]]) -> Nonce {
    let tag = Sha256::digest(tag);
    let mut nonce = Sha256::new().chain_update(tag).chain_update(tag);
    parts.iter().for_each(|part| nonce.update(part));
    Nonce(nonce.finalize().into())
}
