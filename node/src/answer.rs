//! From an outcome to an answer: receipt, reply, envelope, onion.

use larder_onion::Responder;
use larder_protocol::{
    BlobHash, Done, NodeId, Receipt, ReceiptKey, Record, RecordHash, Refusal, Reply, ServerKey,
    SignedRecord, SizeClass, Subject, envelope,
};
use secp256k1::Keypair;

use crate::identity::Identity;

/// Who answers and under which terms.
pub(crate) struct Signer {
    receipt_keypair: Keypair,
    pub(crate) server_key: ServerKey,
    pub(crate) epoch: u32,
    pub(crate) signed_record: SignedRecord,
    record_hash: RecordHash,
}

impl Signer {
    /// The terms of a node that serves everybody for free: one epoch, for ever.
    pub(crate) fn unpaid(identity: &Identity, node_id: NodeId) -> Self {
        let (mut server, receipt) = (identity.server_keypair(), identity.receipt_keypair());
        let record = Record {
            server_key: ServerKey::from(server.public_key()),
            receipt_key: ReceiptKey::from(receipt.public_key()),
            node_id,
            epoch: 0,
            epoch_seconds: 0,
            tariff: None,
        };
        let signer = Signer {
            receipt_keypair: receipt,
            server_key: record.server_key,
            epoch: record.epoch,
            record_hash: record.hash(),
            signed_record: record.sign(&server),
        };
        server.non_secure_erase();
        signer
    }

    /// The contents of the answer: with a receipt if the outcome is about a key, in the size
    /// class of the request and never a larger one. `stored` is the hash of the blob that an
    /// insert or a delete was about.
    pub(crate) fn reply(
        &self,
        subject: &Subject,
        outcome: Result<Done, Refusal>,
        stored: Option<BlobHash>,
        class: SizeClass,
    ) -> Vec<u8> {
        let mut reply = Reply::bare(outcome);
        reply.receipt = Reply::finding(subject, &reply.outcome, stored).map(|finding| {
            Receipt::sign(
                &self.receipt_keypair,
                &finding,
                self.epoch,
                self.record_hash,
            )
        });
        envelope::wrap(&reply.encode(), class)
            .unwrap_or_else(|| refusal(Refusal::WrongSizeClass, class))
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        self.receipt_keypair.non_secure_erase();
    }
}

/// A refusal that came before the request was understood.
pub(crate) fn refusal(refusal: Refusal, class: SizeClass) -> Vec<u8> {
    let body = Reply::bare(Err(refusal)).encode();
    envelope::wrap(&body, class).unwrap_or_default()
}

/// Who waits for an answer.
pub(crate) struct Caller {
    /// The blob of an insert is on its way to the disk by then, and kept nowhere else.
    pub(crate) subject: Subject,
    pub(crate) class: SizeClass,
    pub(crate) responder: Responder,
}

impl Caller {
    /// Sends the answer. Whether it gets there only the client can know: it asks again if not.
    pub(crate) fn answer(
        self,
        signer: &Signer,
        outcome: Result<Done, Refusal>,
        stored: Option<BlobHash>,
    ) {
        let contents = signer.reply(&self.subject, outcome, stored, self.class);
        // An answer that finds no room is counted by the network side.
        let _ = self.responder.answer(&contents);
    }
}
