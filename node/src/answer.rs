//! From an outcome to an answer: receipt, reply, envelope, onion.

use larder_onion::Responder;
use larder_protocol::lookup::Lookup;
use larder_protocol::receipt::Finding;
use larder_protocol::{
    BlobHash, Call, Done, Key, NodeId, Nonce, Op, Receipt, ReceiptKey, Record, RecordHash, Refusal,
    Reply, Request, ServerKey, SignedRecord, SizeClass, envelope,
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
        asked: &Asked,
        outcome: Result<Done, Refusal>,
        stored: Option<BlobHash>,
        class: SizeClass,
    ) -> Vec<u8> {
        let mut reply = Reply::bare(outcome);
        reply.receipt = asked.finding(&reply.outcome, stored).map(|finding| {
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

/// What a receipt repeats of a request. Its blob is on its way to the disk by then, and kept
/// nowhere else.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    op: Op,
    nonce: Nonce,
    key: Option<Key>,
}

impl Asked {
    pub(crate) fn of(request: &Request) -> Self {
        Asked {
            op: request.call.op(),
            nonce: request.nonce,
            key: request.call.key().copied(),
        }
    }

    fn finding(
        &self,
        outcome: &Result<Done, Refusal>,
        stored: Option<BlobHash>,
    ) -> Option<Finding> {
        // The rule is the protocol's, for a whole request. Of one without parameters but its
        // key it says the same, but for the op.
        let call = Call::Lookup(Lookup { key: self.key? });
        let finding = Reply::finding(&Request::unpaid(self.nonce, call), outcome, stored)?;
        Some(Finding {
            op: self.op,
            ..finding
        })
    }
}

/// Who waits for an answer.
pub(crate) struct Caller {
    pub(crate) asked: Asked,
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
        let contents = signer.reply(&self.asked, outcome, stored, self.class);
        // An answer that finds no room is counted by the network side.
        let _ = self.responder.answer(&contents);
    }
}

#[cfg(test)]
mod tests {
    use larder_protocol::delete::Delete;
    use larder_protocol::insert::Insert;
    use larder_protocol::{BLOB_LEN, Blob};

    use super::*;

    #[test]
    fn a_receipt_is_about_the_same_whether_or_not_the_blob_is_still_there() {
        let keypair = Identity::from_seed([1; 32]).server_keypair();
        let key = Key::from(keypair.public_key());
        let blob = Blob::from_slice(&[7; BLOB_LEN]).unwrap();
        let hash = blob.hash();
        let outcomes = [
            Ok(Done::Inserted),
            Ok(Done::Removed),
            Ok(Done::Found(blob.clone())),
            Err(Refusal::AlreadyExists { blob_hash: hash }),
            Err(Refusal::Absent),
            Err(Refusal::Deleted),
            Err(Refusal::BadSignature),
            Err(Refusal::StoreFull),
            Err(Refusal::Internal),
            Err(Refusal::WrongSizeClass),
        ];
        for call in [
            Call::Info,
            Call::Insert(Insert { key, blob }),
            Call::Delete(Delete::sign(&keypair, &keypair.public_key().into(), hash)),
            Call::Lookup(Lookup { key }),
        ] {
            let request = Request::unpaid(Nonce([9; 32]), call);
            for outcome in &outcomes {
                for stored in [None, Some(hash)] {
                    assert_eq!(
                        Asked::of(&request).finding(outcome, stored),
                        Reply::finding(&request, outcome, stored)
                    );
                }
            }
        }
    }
}
