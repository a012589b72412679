//! What is signed cannot be moved: to another server, key, blob, request or outcome.

use crate::messages::{blob, cell, key, keypair, record, refusals, server_key};
use larder_protocol::delete::Delete;
use larder_protocol::lookup::Lookup;
use larder_protocol::receipt::Finding;
use larder_protocol::{
    BlobHash, BreakglassOpen, BreakglassPut, Call, Cell, Done, Nonce, Op, OpenedCell, Receipt,
    ReceiptKey, RecordHash, Refusal, Reply, Request, SignedRecord,
};

/// Every single bit flip of these bytes.
fn flips(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    (0..bytes.len() * 8).map(|bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped
    })
}

#[test]
fn a_delete_is_good_for_one_server_one_key_and_one_blob() {
    let delete = Delete::sign(&keypair(5), &server_key(1), blob(1).hash());
    assert!(delete.permits(&server_key(1), blob(1).hash()));
    assert!(
        !delete.permits(&server_key(2), blob(1).hash()),
        "another server"
    );
    assert!(
        !delete.permits(&server_key(1), blob(2).hash()),
        "another blob"
    );
    let moved = Delete {
        key: key(6),
        ..delete.clone()
    };
    assert!(
        !moved.permits(&server_key(1), blob(1).hash()),
        "another key"
    );
    let foreign = Delete::sign(&keypair(6), &server_key(1), blob(1).hash());
    let foreign = Delete {
        key: key(5),
        ..foreign
    };
    assert!(
        !foreign.permits(&server_key(1), blob(1).hash()),
        "signed by another key"
    );
    for signature in flips(&delete.signature) {
        let changed = Delete {
            signature: signature.try_into().expect("64"),
            ..delete.clone()
        };
        assert!(!changed.permits(&server_key(1), blob(1).hash()));
    }
}

#[test]
fn a_put_is_good_for_one_server_one_key_one_sequence_and_one_cell() {
    let put = BreakglassPut::sign(&keypair(5), &server_key(1), 7, cell(1));
    assert!(put.genuine(&server_key(1)));
    assert!(!put.genuine(&server_key(2)), "another server");
    let others = [
        BreakglassPut {
            key: key(6),
            ..put.clone()
        },
        BreakglassPut {
            sequence: 8,
            ..put.clone()
        },
        BreakglassPut {
            cell: cell(2),
            ..put.clone()
        },
        BreakglassPut {
            key: key(5),
            ..BreakglassPut::sign(&keypair(6), &server_key(1), 7, cell(1))
        },
    ];
    for other in others {
        assert!(!other.genuine(&server_key(1)));
    }
    for signature in flips(&put.signature) {
        let changed = BreakglassPut {
            signature: signature.try_into().expect("64"),
            ..put.clone()
        };
        assert!(!changed.genuine(&server_key(1)));
    }
    for flipped in flips(&put.cell.0) {
        let changed = BreakglassPut {
            cell: Cell::from_slice(&flipped).expect("256"),
            ..put.clone()
        };
        assert!(!changed.genuine(&server_key(1)));
    }
}

#[test]
fn an_open_is_good_for_one_server_one_key_and_one_request() {
    let nonce = Nonce([9; 32]);
    let open = BreakglassOpen::sign(&keypair(5), &server_key(1), nonce);
    assert!(open.genuine(&server_key(1), nonce));
    assert!(!open.genuine(&server_key(2), nonce), "another server");
    assert!(
        !open.genuine(&server_key(1), Nonce([8; 32])),
        "another request"
    );
    let moved = BreakglassOpen {
        key: key(6),
        ..open.clone()
    };
    assert!(!moved.genuine(&server_key(1), nonce), "another key");
    let foreign = BreakglassOpen {
        key: key(5),
        ..BreakglassOpen::sign(&keypair(6), &server_key(1), nonce)
    };
    assert!(
        !foreign.genuine(&server_key(1), nonce),
        "signed by another key"
    );
    for signature in flips(&open.signature) {
        let changed = BreakglassOpen {
            signature: signature.try_into().expect("64"),
            ..open.clone()
        };
        assert!(!changed.genuine(&server_key(1), nonce));
    }
}

#[test]
fn no_signature_is_good_for_another_operation() {
    let (server, nonce) = (server_key(1), Nonce(blob(1).hash().0));
    let delete = Delete::sign(&keypair(5), &server, blob(1).hash());
    let put = BreakglassPut::sign(&keypair(5), &server, 7, cell(1));
    let open = BreakglassOpen::sign(&keypair(5), &server, nonce);
    // The same 98 bytes under another tag: only the tag tells them apart.
    let as_open = |signature| BreakglassOpen {
        signature,
        ..open.clone()
    };
    let as_delete = |signature| Delete {
        signature,
        ..delete.clone()
    };
    assert!(!as_open(delete.signature).genuine(&server, nonce));
    assert!(!as_open(put.signature).genuine(&server, nonce));
    assert!(!as_delete(open.signature).permits(&server, blob(1).hash()));
    let as_put = BreakglassPut {
        signature: open.signature,
        ..put
    };
    assert!(!as_put.genuine(&server));
}

#[test]
fn a_record_with_any_bit_flipped_is_not_the_servers() {
    let signed = record(7, None).sign(&keypair(1));
    assert!(signed.verified(&server_key(1)).is_some());
    assert!(signed.verified(&server_key(2)).is_none(), "another server");
    let forged = record(7, None).sign(&keypair(2));
    assert!(
        forged.verified(&server_key(1)).is_none(),
        "signed by somebody else"
    );
    for bytes in flips(&signed.encode()) {
        let changed = SignedRecord::decode(&bytes);
        assert!(!changed.is_ok_and(|record| record.verified(&server_key(1)).is_some()));
    }
}

#[test]
fn a_receipt_proves_one_finding_only() {
    let finding = Finding {
        op: Op::Lookup,
        key: key(5),
        outcome: 3,
        blob: Some(blob(1).hash()),
        nonce: Nonce([9; 32]),
    };
    let receipt_key = ReceiptKey::from(keypair(2).public_key());
    let receipt = Receipt::sign(&keypair(2), &finding, 7, RecordHash([4; 32]));
    assert!(receipt.proves(&receipt_key, &finding));
    let others = [
        Finding {
            op: Op::Insert,
            ..finding
        },
        Finding {
            key: key(6),
            ..finding
        },
        Finding {
            outcome: 0x14,
            ..finding
        },
        Finding {
            blob: None,
            ..finding
        },
        Finding {
            blob: Some(BlobHash([0; 32])),
            ..finding
        },
        Finding {
            nonce: Nonce([8; 32]),
            ..finding
        },
    ];
    for other in others {
        assert!(!receipt.proves(&receipt_key, &other));
    }
    assert!(!receipt.proves(&ReceiptKey::from(keypair(3).public_key()), &finding));
    assert!(
        !Receipt {
            epoch: 8,
            ..receipt.clone()
        }
        .proves(&receipt_key, &finding)
    );
    let other_terms = Receipt {
        record: RecordHash([5; 32]),
        ..receipt.clone()
    };
    assert!(!other_terms.proves(&receipt_key, &finding));
    for signature in flips(&receipt.signature) {
        let changed = Receipt {
            signature: signature.try_into().expect("64"),
            ..receipt.clone()
        };
        assert!(!changed.proves(&receipt_key, &finding));
    }
}

#[test]
fn no_blob_and_a_blob_of_hash_zero_are_different_findings() {
    let absent = Finding {
        op: Op::Lookup,
        key: key(5),
        outcome: 3,
        blob: None,
        nonce: Nonce([9; 32]),
    };
    let receipt = Receipt::sign(&keypair(2), &absent, 0, RecordHash([0; 32]));
    let zero = Finding {
        blob: Some(BlobHash([0; 32])),
        ..absent
    };
    assert!(!receipt.proves(&ReceiptKey::from(keypair(2).public_key()), &zero));
}

#[test]
fn every_outcome_that_reached_the_store_has_a_finding_and_no_other() {
    let request = Request::unpaid(Nonce([1; 32]), Call::Lookup(Lookup { key: key(5) }));
    let stored = Some(blob(1).hash());
    let found = |outcome| Reply::finding(&request.subject(), &outcome, stored);
    for done in [
        Done::Inserted,
        Done::Removed,
        Done::Found(blob(1)),
        Done::CellStored,
    ] {
        assert_eq!(found(Ok(done)).expect("a finding").blob, stored);
    }
    let opened = OpenedCell {
        sequence: 1,
        cell: cell(2),
        seconds: 3,
    };
    let opened = found(Ok(Done::Cell(Box::new(opened)))).expect("a finding");
    assert_eq!(opened.blob, Some(cell(2).hash()));
    let about_the_key = |refusal: &Refusal| {
        matches!(
            refusal,
            Refusal::AlreadyExists { .. }
                | Refusal::Absent
                | Refusal::Deleted
                | Refusal::BadSignature { .. }
                | Refusal::StaleSequence { .. }
        )
    };
    for refusal in refusals() {
        assert_eq!(
            found(Err(refusal.clone())).is_some(),
            about_the_key(&refusal),
            "{refusal:?}"
        );
    }
    assert!(found(Ok(Done::Exchanged)).is_none());
    let info = Request::unpaid(Nonce([1; 32]), Call::Info);
    assert!(Reply::finding(&info.subject(), &Err(Refusal::Absent), None).is_none());
}

#[test]
fn the_receipt_of_a_stale_sequence_is_for_that_sequence_only() {
    let request = Request::unpaid(
        Nonce([1; 32]),
        Call::BreakglassPut(Box::new(BreakglassPut::sign(
            &keypair(5),
            &server_key(1),
            7,
            cell(1),
        ))),
    );
    let stale = |current| {
        let outcome = Err(Refusal::StaleSequence { current });
        Reply::finding(&request.subject(), &outcome, None).expect("a finding")
    };
    let receipt = Receipt::sign(&keypair(2), &stale(7), 0, RecordHash([0; 32]));
    let receipt_key = ReceiptKey::from(keypair(2).public_key());
    assert!(receipt.proves(&receipt_key, &stale(7)));
    for other in [0, 6, 8, 7 << 32, u64::MAX] {
        assert!(!receipt.proves(&receipt_key, &stale(other)), "{other}");
    }
}
