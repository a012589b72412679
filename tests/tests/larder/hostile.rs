//! What a stranger can send, and what comes of it.

use larder_protocol::delete::Delete;
use larder_protocol::insert::Insert;
use larder_protocol::lookup::Lookup;
use larder_protocol::{
    Call, Done, Key, Nonce, Payment, Refusal, Reply, Request, SizeClass, envelope,
};
use larder_recovery::{Looked, Provider, Removed, Written};

use crate::processes::{larderd, relay};
use crate::wallet::{Client, blob, patient, runtime};

fn lookup(key: Key) -> Request {
    Request::unpaid(Nonce([1; 32]), Call::Lookup(Lookup { key }))
}

fn wrap(body: &[u8], class: SizeClass) -> Vec<u8> {
    envelope::wrap(body, class).expect("it fits")
}

fn with(mut bytes: Vec<u8>, at: usize, byte: u8) -> Vec<u8> {
    bytes[at] = byte;
    bytes
}

#[test]
fn every_kind_of_malformed_request_is_refused_and_harms_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let relay = relay();
    let node = larderd(folder.path(), &[relay.peer]);
    runtime().block_on(async {
        let client = Client::connect(patient(relay.peer), &node.address).await;
        let key = client.keypair(0).public_key().into();
        let honest = lookup(key).encode();
        let big = |body: &[u8]| wrap(body, SizeClass::Big);
        let good = big(&honest);
        let insert = Call::Insert(Insert { key, blob: blob(0) });
        let insert = Request::unpaid(Nonce([1; 32]), insert).encode();
        // Where the key is: op, nonce, payment kind and length are in front of it.
        let at = 1 + 32 + 3;
        let off_curve = [&honest[..at], &[2], &[0xff; 32]].concat();
        let uncompressed = [&honest[..at], &[4], &[0x11; 64]].concat();
        let malformed: Vec<(&str, Vec<u8>)> = vec![
            ("nothing", vec![]),
            ("zeros", vec![0; 2_000]),
            ("a version and nothing else", vec![1]),
            ("a length beyond the end", with(good.clone(), 1, 0xff)),
            ("a body cut short", big(&honest[..honest.len() - 1])),
            (
                "a byte in the padding",
                with(good.clone(), good.len() - 1, 1),
            ),
            (
                "bytes behind the body",
                big(&[honest.clone(), vec![0]].concat()),
            ),
            ("an unknown op", big(&with(honest.clone(), 0, 200))),
            ("a reserved op", big(&with(honest.clone(), 0, 4))),
            ("an unknown payment", big(&with(honest.clone(), 33, 9))),
            (
                "a payment longer than the request",
                big(&with(honest.clone(), 34, 0xff)),
            ),
            ("a point off the curve", big(&off_curve)),
            ("an uncompressed point", big(&uncompressed)),
            (
                "an even extension",
                big(&[honest.clone(), vec![8, 0]].concat()),
            ),
            ("a blob too short", big(&insert[..insert.len() - 1])),
            ("a blob too long", big(&[insert.clone(), vec![7]].concat())),
        ];
        for (what, contents) in malformed {
            let reply = client.send_raw(&contents).await;
            let wanted = match contents.first() {
                Some(0) => Refusal::UnsupportedVersion,
                _ => Refusal::Malformed,
            };
            assert_eq!(reply, Reply::bare(Err(wanted)), "{what}");
        }
        let other_version = client.send_raw(&with(good, 0, 2)).await;
        assert_eq!(other_version, Reply::bare(Err(Refusal::UnsupportedVersion)));
        let paid = Request {
            payment: Payment::Credentials(vec![1; 1_400]),
            ..lookup(key)
        };
        let reply = client.send_raw(&big(&paid.encode())).await;
        assert_eq!(reply.outcome, Err(Refusal::WrongPrice { price: 0 }));
        for call in [Call::Transfer, Call::Reissue, Call::Purchase] {
            let exchange = Request {
                call,
                ..paid.clone()
            };
            let reply = client.send_raw(&big(&exchange.encode())).await;
            assert_eq!(reply, Reply::bare(Err(Refusal::NotOffered)));
        }

        assert_eq!(
            client.provider.lookup(key).await,
            Ok(Looked::Absent),
            "none took effect"
        );
        assert_eq!(client.provider.insert(key, blob(0)).await, Ok(Written::New));
    });
}

#[test]
fn a_lookup_in_the_small_class_is_refused_whether_or_not_the_blob_exists() {
    let folder = tempfile::tempdir().expect("a folder");
    let relay = relay();
    let node = larderd(folder.path(), &[relay.peer]);
    runtime().block_on(async {
        let client = Client::connect(patient(relay.peer), &node.address).await;
        let [stored, absent] = [0, 1].map(|number| client.keypair(number).public_key().into());
        client
            .provider
            .insert(stored, blob(0))
            .await
            .expect("stored");
        for key in [stored, absent] {
            let reply = client
                .send_raw(&wrap(&lookup(key).encode(), SizeClass::Small))
                .await;
            assert_eq!(reply, Reply::bare(Err(Refusal::WrongSizeClass)));
        }
        let info = Request::unpaid(Nonce([1; 32]), Call::Info);
        let reply = client
            .send_raw(&wrap(&info.encode(), SizeClass::Small))
            .await;
        assert!(
            matches!(reply.outcome, Ok(Done::Info(_))),
            "what fits may be small"
        );
    });
}

#[test]
fn a_delete_needs_the_right_key_server_and_blob() {
    let folder = tempfile::tempdir().expect("a folder");
    let relay = relay();
    let node = larderd(folder.path(), &[relay.peer]);
    runtime().block_on(async {
        let client = Client::connect(patient(relay.peer), &node.address).await;
        let server = node.address.server_key();
        let [owner, stranger] = [0, 1].map(|number| client.keypair(number));
        let key: Key = owner.public_key().into();
        client.provider.insert(key, blob(0)).await.expect("stored");

        let hash = blob(0).hash();
        let other_server = stranger.public_key().into();
        let wrong = [
            (
                "another key",
                Delete {
                    key,
                    ..Delete::sign(&stranger, server, hash)
                },
            ),
            ("another server", Delete::sign(&owner, &other_server, hash)),
            ("another blob", Delete::sign(&owner, server, blob(1).hash())),
            (
                "nonsense",
                Delete {
                    key,
                    signature: [0xff; 64],
                },
            ),
        ];
        for (what, delete) in wrong {
            let request = Request::unpaid(Nonce([1; 32]), Call::Delete(delete));
            let reply = client
                .send_raw(&wrap(&request.encode(), SizeClass::Big))
                .await;
            let refusal = Refusal::BadSignature { blob_hash: hash };
            assert_eq!(reply.outcome, Err(refusal), "{what}");
            assert!(reply.receipt.is_some(), "{what}");
        }
        assert_eq!(
            client.provider.lookup(key).await,
            Ok(Looked::Found(blob(0)))
        );
        client.provider.delete(&owner, hash).await.expect("deleted");
        assert_eq!(client.provider.lookup(key).await, Ok(Looked::Deleted));
        assert_eq!(
            client.provider.insert(key, blob(0)).await,
            Ok(Written::Tombstoned)
        );
    });
}

#[test]
fn a_compact_client_deletes_in_small_messages_and_is_answered_in_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let relay = relay();
    let node = larderd(folder.path(), &[relay.peer]);
    runtime().block_on(async {
        let client = Client::connect(patient(relay.peer), &node.address).await;
        let address = node.address.clone();
        let compact = Provider::connect(address, client.transport.clone())
            .await
            .expect("answers");
        let compact = compact.compact();
        let keypair = client.keypair(0);
        let key = keypair.public_key().into();
        assert_eq!(compact.insert(key, blob(0)).await, Ok(Written::New));
        assert!(compact.lookup(key).await == Ok(Looked::Found(blob(0))));
        assert_eq!(
            compact.delete(&keypair, blob(0).hash()).await,
            Ok(Removed::Now)
        );

        let delete = Delete::sign(&keypair, node.address.server_key(), blob(0).hash());
        let request = Request::unpaid(Nonce([1; 32]), Call::Delete(delete));
        let contents = wrap(&request.encode(), SizeClass::Small);
        let answer = client.send_for_contents(&contents).await;
        assert_eq!(SizeClass::of(&answer), SizeClass::Small);
    });
}
