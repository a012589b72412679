//! The same over sockets and threads: what a wallet does at once ends as if each had come alone.

use std::sync::Arc;

use larder_credentials::{AdjustRule, InFlight, Record as Terms, Reply as Replacement, Settled};
use larder_node::config::{Payment as Paying, TillKind};
use larder_node::{Config, Node};
use larder_onion::{Circuits, CircuitsConfig, Destination, Relay, RelayConfig};
use larder_protocol::{
    Call, Done, Nonce, Payment, Refusal, Reply, Request, ServerKey, SizeClass, envelope,
};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::scene::{Wallet, blob, insert, keypair, lookup, paid};
use larder_protocol::delete::Delete;

/// A client that sends bytes and reads replies.
#[derive(Clone)]
struct Client {
    circuits: Arc<Circuits>,
    to: Destination,
    server: ServerKey,
}

impl Client {
    async fn ask(&self, call: Call, payment: Payment) -> Reply {
        let request = Request {
            payment,
            ..Request::unpaid(Nonce([7; 32]), call)
        };
        let contents = envelope::wrap(&request.encode(), SizeClass::Big).unwrap();
        let answer = self.circuits.request(&self.to, &contents).await.unwrap();
        Reply::decode(envelope::unwrap(&answer.contents).unwrap()).unwrap()
    }

    async fn terms(&self) -> Terms {
        let reply = self.ask(Call::Info, Payment::None).await;
        let Ok(Done::Info(signed)) = reply.outcome else {
            panic!("no record: {reply:?}")
        };
        let record = signed.verified(&self.server).unwrap();
        record.credentials().unwrap().unwrap()
    }
}

fn accept(wallet: &Wallet, terms: &Terms, in_flight: InFlight, reply: Reply) -> Settled {
    let replacement = Replacement::decode(&reply.replacement.unwrap()).unwrap();
    let rule = AdjustRule::AtMost(u64::MAX);
    in_flight
        .accept(&wallet.root, terms, replacement, rule)
        .unwrap()
}

/// A node behind a relay, and a client of it. They end with the test.
async fn serve(folder: &TempDir, workers: usize) -> (Relay, Node, Client) {
    let relay = Relay::start(RelayConfig::loopback([5; 32])).await.unwrap();
    let mut config = Config::load(None, Some(folder.path()), []).unwrap();
    config.payment = Paying::Credentials(TillKind::Instant);
    config.free_space_floor = 0;
    config.lsps = vec![relay.address().into()];
    config.workers = workers;
    let node = Node::start(&config).await.unwrap();
    node.wait_connected().await;
    let circuits = Circuits::start(CircuitsConfig::new(vec![relay.address()])).unwrap();
    let client = Client {
        circuits: Arc::new(circuits),
        to: Destination::new(node.node_id()),
        server: *node.address().server_key(),
    };
    (relay, node, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_at_once_and_pairs_used_twice_end_as_if_each_had_come_alone() {
    const PAIRS: u8 = 32;
    let folder = tempfile::tempdir().unwrap();
    let (_relay, node, client) = serve(&folder, 2).await;

    let mut wallet = Wallet::new(2);
    let terms = client.terms().await;
    for claims in [16, u64::from(PAIRS) - 16] {
        let quote = wallet.quote(1_000, claims, None);
        let reply = client.ask(Call::Quote(quote), Payment::None).await;
        assert!(matches!(reply.outcome, Ok(Done::Quoted(quoted)) if quoted.paid));
    }
    let wallet = Arc::new(wallet);
    let mut purses = JoinSet::new();
    for number in 0..PAIRS {
        let (client, wallet, terms) = (client.clone(), wallet.clone(), terms.clone());
        purses.spawn(async move {
            let secret = wallet.root.claim_secret(number.into());
            let purchase = InFlight::purchase(&wallet.root, &terms, &secret, 1_000, None).unwrap();
            let reply = client.ask(Call::Purchase, paid(&purchase)).await;
            let Settled::Performed(bought) = accept(&wallet, &terms, purchase, reply) else {
                panic!("not bought")
            };
            // One pair for two calls at once: one is done, the other gets the row.
            let (call, other) = (insert(number + 1, 1), lookup(number + 1));
            let insert = wallet.pay_with(&terms, &bought.pair, &call, 16);
            let lookup = wallet.pay_with(&terms, &bought.pair, &other, 1);
            let (first, second) = tokio::join!(
                client.ask(call.clone(), paid(&insert)),
                client.ask(other, paid(&lookup))
            );
            let spent = |reply: &Reply| matches!(reply.outcome, Err(Refusal::AlreadySpent { .. }));
            assert!(spent(&first) != spent(&second));
            let (done, left) = match spent(&first) {
                true => (accept(&wallet, &terms, lookup, second), 999),
                false => (accept(&wallet, &terms, insert, first), 984),
            };
            let Settled::Performed(done) = done else {
                panic!("not performed")
            };
            assert_eq!(done.pair.total(), left);
            // Whichever it was, the blob is there afterwards, and then it is deleted.
            let insert = wallet.pay_with(&terms, &done.pair, &call, 16);
            let reply = client.ask(call, paid(&insert)).await;
            let blob_hash = blob(1).hash();
            let exists = Err(Refusal::AlreadyExists { blob_hash });
            assert!(reply.outcome == Ok(Done::Inserted) || reply.outcome == exists);
            let Settled::Performed(done) = accept(&wallet, &terms, insert, reply) else {
                panic!("not performed")
            };
            let keypair = keypair(number + 1);
            let call = Call::Delete(Delete::sign(&keypair, &client.server, blob_hash));
            let delete = wallet.pay_with(&terms, &done.pair, &call, 1);
            let reply = client.ask(call, paid(&delete)).await;
            assert_eq!(reply.outcome, Ok(Done::Removed));
            let Settled::Performed(done) = accept(&wallet, &terms, delete, reply) else {
                panic!("not performed")
            };
            // Either way: one insert, one delete and its refund, one look-up or what costs so much.
            assert_eq!(done.pair.total(), 1_000 - 16 - 1 + 8 - 1);
        });
    }
    while let Some(purse) = purses.join_next().await {
        purse.unwrap();
    }

    node.enter_next_epoch().await.unwrap();
    assert_eq!(client.terms().await.current().0, terms.current().0 + 1);
    let stopped = node.shutdown().await;
    let (seen, usage) = (stopped.seen, stopped.usage.unwrap());
    assert_eq!((usage.blobs, usage.tombstones), (0, PAIRS.into()));
    // A slow machine makes the client ask again, so there may be more of them.
    assert!(seen.purchases >= PAIRS.into() && seen.already_spent >= PAIRS.into());
    assert!(seen.verified >= 5 * u64::from(PAIRS) && seen.quotes >= 2);
    assert_eq!((seen.unpaid, seen.bad_proof, seen.wrong_epoch), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_alone_is_checked_at_once_and_many_are_in_batches_on_every_thread() {
    const MANY: u64 = 64;
    let folder = tempfile::tempdir().unwrap();
    let (_relay, node, client) = serve(&folder, 2).await;
    let mut wallet = Wallet::new(2);
    let terms = client.terms().await;
    for _ in 0..=MANY / 16 {
        let quote = wallet.quote(1_000, 16, None);
        let reply = client.ask(Call::Quote(quote), Payment::None).await;
        assert!(matches!(reply.outcome, Ok(Done::Quoted(quoted)) if quoted.paid));
    }
    let purchase = |claim| {
        let secret = wallet.root.claim_secret(claim);
        InFlight::purchase(&wallet.root, &terms, &secret, 1_000, None).unwrap()
    };
    // Whoever waited for company would wait for ever.
    let alone = client.ask(Call::Purchase, paid(&purchase(MANY))).await;
    assert_eq!(alone.outcome, Ok(Done::Exchanged));
    let before = node.seen();
    assert!(before.batches == before.verified && before.batches > 0);

    // Made before the first is sent, so that the node alone sets the pace.
    let purchases: Vec<InFlight> = (0..MANY).map(purchase).collect();
    let mut asking = JoinSet::new();
    for purchase in purchases {
        let client = client.clone();
        asking.spawn(async move { client.ask(Call::Purchase, paid(&purchase)).await.outcome });
    }
    while let Some(outcome) = asking.join_next().await {
        assert_eq!(outcome.unwrap(), Ok(Done::Exchanged));
    }
    let seen = node.shutdown().await.seen;
    let (verified, batches) = (
        seen.verified - before.verified,
        seen.batches - before.batches,
    );
    assert!(verified >= MANY && batches < verified, "{seen:?}");
    assert_eq!(seen.batches_at_once, 2);
}
