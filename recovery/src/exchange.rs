//! One request to a storage node and the answer to it, as bytes in envelopes.

use larder_protocol::{
    Call, Done, Nonce, Pass, Record, Refusal, Reply, Request, ServerKey, SignedRecord, SizeClass,
    envelope,
};
use rand::CryptoRng;
use sha2::{Digest, Sha256};

use crate::provider::unexpected;
use crate::terms::keys;
use crate::{RecoveryError, Transport};

/// Asks for the terms and checks who signed them.
pub(crate) async fn info(
    request: &Request,
    server: &ServerKey,
    transport: &dyn Transport,
    compact: bool,
) -> Result<(SignedRecord, Record), RecoveryError> {
    match exchange(request, transport, compact).await?.outcome {
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

/// Sends a request that nothing is paid for and reads its answer. It never shows a pass, which would say that
/// whoever asks has paid for something else.
pub(crate) async fn exchange(
    request: &Request,
    transport: &dyn Transport,
    compact: bool,
) -> Result<Reply, RecoveryError> {
    let body = request.encode();
    // The answer comes in the class of its request, and that of a look-up may be a blob.
    let small = matches!(request.call, Call::Info | Call::Delete(_));
    if compact && small {
        let reply = send(&body, SizeClass::Small, transport, None).await?;
        if reply.outcome != Err(Refusal::WrongSizeClass) {
            return Ok(reply);
        }
    }
    send(&body, SizeClass::Big, transport, None).await
}

/// Sends a request with a payment, which is never small, and reads its answer.
pub(crate) async fn exchange_paid(
    request: &Request,
    transport: &dyn Transport,
    pass: Option<Pass>,
) -> Result<Reply, RecoveryError> {
    send(&request.encode(), SizeClass::Big, transport, pass).await
}

async fn send(
    body: &[u8],
    class: SizeClass,
    transport: &dyn Transport,
    pass: Option<Pass>,
) -> Result<Reply, RecoveryError> {
    #[expect(
        clippy::expect_used,
        reason = "every request fits its class, see `envelope`"
    )]
    let contents = envelope::wrap(body, class).expect("a request fits");
    let answer = transport.exchange(contents, pass).await?;
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
