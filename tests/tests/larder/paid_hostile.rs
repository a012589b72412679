//! What a stranger can send to a node that is paid: each kind is refused for what it is, and
//! changes nothing, not the supply, not a row, not a key.

use std::path::Path;

use larder_credentials::ledger::Supply;
use larder_credentials::{
    Epoch, InFlight, IssuerKey, MasterSecret, Record as Terms, Reply as Replacement,
};
use larder_protocol::insert::Insert;
use larder_protocol::lookup::Lookup;
use larder_protocol::{Call, Done, Payment, Refusal, Reply, Voucher};
use larder_recovery::Looked;
use larder_store::{Engine, Options, SledEngine, Usage};

use crate::bare::{Bare, ask, contents, forged, paid, refusal};
use crate::processes::{NodeProcess, larderd_command, paid_larderd, relay, start, succeed};
use crate::wallet::{Client, blob, patient, runtime};

const DENOMINATION: u64 = 1_000;
const INSERT: u64 = 16;

/// How often each bad quote comes, all at once.
const FLOOD: u64 = 64;

fn insert(client: &Client, number: u64) -> Call {
    let (key, blob) = (client.keypair(number).public_key().into(), blob(number));
    Call::Insert(Insert { key, blob })
}

fn lookup(client: &Client, number: u64) -> Call {
    let key = client.keypair(number).public_key().into();
    Call::Lookup(Lookup { key })
}

/// How many rows the owner of a spent pair is shown: one says what became of both its credentials.
fn rows(refusal: &Refusal) -> usize {
    let Refusal::AlreadySpent { row } = refusal else {
        panic!("not spent: {refusal:?}")
    };
    match Replacement::decode(row) {
        Ok(Replacement::NotPerformed(rows)) => rows.len(),
        other => panic!("no rows: {other:?}"),
    }
}

#[test]
fn of_two_circuits_that_spend_one_pair_at_once_one_is_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let relays = [relay(), relay()];
    let lsps = [relays[0].peer, relays[1].peer];
    let node = paid_larderd(folder.path(), &lsps);
    runtime().block_on(async {
        let one = Client::connect_without_tokens(patient(lsps[0]), &node.address).await;
        let other = Client::connect_without_tokens(patient(lsps[1]), &node.address).await;
        let mut thief = Bare::new(&one, 1);
        for number in (0..20).step_by(2) {
            let pair = thief.buy(DENOMINATION, None).await;
            let calls = [insert(&one, number), insert(&one, number + 1)];
            let [first, second] = calls
                .clone()
                .map(|call| paid(&thief.pay(&pair, &call, INSERT)));
            let [call, same] = calls;
            let (first, second) = tokio::join!(ask(&one, call, first), ask(&other, same, second));
            let outcomes = [first.outcome, second.outcome];
            let done = outcomes
                .iter()
                .filter(|outcome| **outcome == Ok(Done::Inserted));
            assert_eq!(done.count(), 1, "{outcomes:?}");
            let spent = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
            assert_eq!(spent.map(rows).collect::<Vec<_>>(), [1]);
        }
        // One of each two, and no more.
        let client = Client::connect(patient(lsps[0]), &node.address).await;
        let mut there = 0;
        for number in 0..20 {
            let key = one.keypair(number).public_key().into();
            there +=
                u32::from(client.provider.lookup(key).await == Ok(Looked::Found(blob(number))));
        }
        assert_eq!(there, 10);
    });
}

#[test]
fn a_spent_pair_shows_its_row_to_its_owner_and_nothing_to_who_knows_its_serials() {
    let folder = tempfile::tempdir().expect("a folder");
    let relay = relay();
    let node = paid_larderd(folder.path(), &[relay.peer]);
    runtime().block_on(async {
        let client = Client::connect(patient(relay.peer), &node.address).await;
        let mut owner = Bare::new(&client, 1);
        let (spent, unspent) = (
            owner.buy(DENOMINATION, None).await,
            owner.buy(DENOMINATION, None).await,
        );
        let [first, second] = [insert(&client, 0), insert(&client, 1)];
        let in_flight = owner.pay(&spent, &first, INSERT);
        assert_eq!(
            ask(&client, first.clone(), paid(&in_flight)).await.outcome,
            Ok(Done::Inserted)
        );

        let other = paid(&owner.pay(&spent, &second, INSERT));
        assert_eq!(rows(&refusal(&client, second.clone(), other).await), 1);

        // With the serials alone: the same bytes, spent or not, for this call or another, at the
        // published price and at any other.
        for (price, answer) in [
            (INSERT, Refusal::BadProof),
            (INSERT + 1, Refusal::WrongPrice { price: INSERT }),
        ] {
            let mut answers = Vec::new();
            for pair in [&spent, &unspent] {
                for call in [&first, &second] {
                    let payment = forged(&owner.pay(pair, call, price));
                    let contents = contents(call.clone(), payment);
                    answers.push(client.send_for_contents(&contents).await);
                }
            }
            let bare = larder_protocol::envelope::unwrap(&answers[0]).expect("an answer");
            assert_eq!(Reply::decode(bare), Ok(Reply::bare(Err(answer))));
            assert!(answers.windows(2).all(|two| two[0] == two[1]));
        }

        // With another wallet's pair in its hands, a serial of this one buys nothing either.
        let mut thief = Bare::new(&client, 2);
        let own = thief.buy(DENOMINATION, None).await;
        let (shown, own) = (
            owner.pay(&spent, &second, INSERT),
            thief.pay(&own, &second, INSERT),
        );
        let mixed = [
            &shown.core()[..shown.core().len() / 2],
            &own.core()[own.core().len() / 2..],
        ];
        let refused = refusal(&client, second, Payment::Credentials(mixed.concat())).await;
        assert!(
            matches!(refused, Refusal::BadProof | Refusal::Malformed),
            "{refused:?}"
        );

        let key = client.keypair(1).public_key().into();
        assert_eq!(client.provider.lookup(key).await, Ok(Looked::Absent));
        let retry = ask(&client, first, paid(&in_flight)).await;
        assert_eq!(retry.outcome, Ok(Done::Inserted), "nobody has spoilt it");
    });
}

/// What is in the store of a node that has stopped.
fn stored(folder: &Path) -> (Supply, Usage) {
    let options = Options {
        free_space_floor: 0,
        ..Options::default()
    };
    let engine = SledEngine::open(&folder.join("store"), options).expect("a store");
    let supply = engine.supply().expect("a supply");
    // What others write to the disk is not ours.
    let usage = Usage {
        free_bytes: 0,
        disk_bytes: 0,
        ..engine.usage().expect("counts")
    };
    (supply, usage)
}

fn vouchers(folder: &Path, count: u32) -> Vec<Voucher> {
    let mut create = larderd_command(folder, &[]);
    create
        .env("LARDERD_PAYMENT", "credentials")
        .args(["voucher", "create", "--tokens", &DENOMINATION.to_string()])
        .args(["--count", &count.to_string()]);
    let codes = succeed(&mut create);
    let codes = codes.lines().map(|line| line.parse().expect("a code"));
    codes.collect()
}

fn sells_for_vouchers(folder: &Path, relay: larder_onion::PeerAddress) -> NodeProcess {
    start(larderd_command(folder, &[relay]).env("LARDERD_PAYMENT", "credentials"))
}

/// The terms of a node that is none, in an epoch that this one never entered.
fn foreign(terms: &Terms) -> Terms {
    let master = MasterSecret::from_bytes([7; 32]);
    let key = IssuerKey::derive(&master, terms.service(), Epoch(77));
    Terms::new(*terms.service(), Epoch(77), [key.parameters().clone()]).expect("one epoch")
}

#[test]
fn whatever_a_stranger_pays_with_is_refused_for_what_it_is_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let relay = relay();
    let node = sells_for_vouchers(folder.path(), relay.peer);
    let codes = vouchers(folder.path(), 2);
    let runtime = runtime();
    let (pair, spent) = runtime.block_on(async {
        let client = Client::connect_without_tokens(patient(relay.peer), &node.address).await;
        let mut wallet = Bare::new(&client, 1);
        let pair = wallet.buy(DENOMINATION, Some(&codes[0])).await;
        let call = insert(&client, 0);
        let spent = wallet.pay(&pair, &call, INSERT);
        let reply = ask(&client, call, paid(&spent)).await;
        assert_eq!(reply.outcome, Ok(Done::Inserted));
        (
            wallet.accept(wallet.pay(&pair, &insert(&client, 0), INSERT), &reply),
            spent,
        )
    });
    assert!(node.process.terminate().0.success());
    let before = stored(folder.path());

    let node = sells_for_vouchers(folder.path(), relay.peer);
    runtime.block_on(async {
        let client = Client::connect_without_tokens(patient(relay.peer), &node.address).await;
        let wallet = Bare::new(&client, 1);
        let pay = |call: &Call, price| paid(&wallet.pay(&pair, call, price));
        let [one, other] = [insert(&client, 1), insert(&client, 2)];
        let wrong_price = Refusal::WrongPrice { price: INSERT };
        let buys = |terms: &Terms, claim, split| {
            let claim = wallet.root.claim_secret(claim);
            let purchase = InFlight::purchase(&wallet.root, terms, &claim, DENOMINATION, split);
            paid(&purchase.expect("a purchase"))
        };
        let epoch = wallet.terms.current().0;
        let refused = [
            ("unpaid", one.clone(), Payment::None, wrong_price.clone()),
            (
                "underpaid",
                one.clone(),
                pay(&one, INSERT - 1),
                wrong_price.clone(),
            ),
            ("overpaid", one.clone(), pay(&one, INSERT + 1), wrong_price),
            (
                "paid for another key",
                one.clone(),
                pay(&other, INSERT),
                Refusal::BadProof,
            ),
            (
                "a payment made before, for another key",
                other.clone(),
                paid(&spent),
                Refusal::BadProof,
            ),
            (
                "paid for a look-up",
                one.clone(),
                pay(&lookup(&client, 1), 1),
                Refusal::BadProof,
            ),
            (
                "forged",
                one.clone(),
                forged(&wallet.pay(&pair, &one, INSERT)),
                Refusal::BadProof,
            ),
            (
                "nothing",
                one.clone(),
                Payment::Credentials(vec![]),
                Refusal::Malformed,
            ),
            (
                "noise",
                one.clone(),
                Payment::Credentials(vec![0x5a; 1_400]),
                Refusal::Malformed,
            ),
            (
                "an insert for an exchange",
                Call::Transfer,
                pay(&one, INSERT),
                Refusal::BadProof,
            ),
            (
                "of an epoch that never was",
                Call::Purchase,
                buys(&foreign(&wallet.terms), 500, None),
                Refusal::WrongEpoch {
                    current: epoch,
                    oldest: epoch,
                },
            ),
            (
                "a claim that nobody knows",
                Call::Purchase,
                buys(&wallet.terms, 501, None),
                Refusal::UnknownClaim,
            ),
            (
                "a claim that was taken",
                Call::Purchase,
                buys(&wallet.terms, 1, Some([1, 999])),
                Refusal::AlreadyClaimed,
            ),
        ];
        for (what, call, payment, wanted) in refused {
            assert_eq!(refusal(&client, call, payment).await, wanted, "{what}");
        }
        // The same request again is answered as the first time.
        let again = ask(&client, insert(&client, 0), paid(&spent)).await;
        assert_eq!(again.outcome, Ok(Done::Inserted));
        assert!(again.replacement.is_some());

        let made_up = Voucher::new(&[3; 32], [4; 16], DENOMINATION, u64::MAX);
        let quotes = [
            (DENOMINATION, None, Refusal::NotOffered),
            (DENOMINATION - 1, Some(&codes[1]), Refusal::NotOffered),
            (10 * DENOMINATION, Some(&codes[1]), Refusal::BadVoucher),
            (DENOMINATION, Some(&made_up), Refusal::BadVoucher),
            (DENOMINATION, Some(&codes[0]), Refusal::VoucherUsed),
        ];
        let mut stranger = Bare::new(&client, 2);
        let quotes: Vec<_> = (0..FLOOD)
            .flat_map(|_| quotes.clone())
            .map(|(tokens, voucher, wanted)| (stranger.quote(tokens, voucher), wanted))
            .collect();
        let answers = quotes.into_iter().map(|(quote, wanted)| {
            let client = &client;
            async move { (refusal(client, quote, Payment::None).await, wanted) }
        });
        for (refused, wanted) in futures_util::future::join_all(answers).await {
            assert_eq!(refused, wanted);
        }
    });
    assert!(node.process.terminate().0.success());
    assert_eq!(stored(folder.path()), before);

    // Honest work goes on: with the very pair that was shown in all of that.
    let node = sells_for_vouchers(folder.path(), relay.peer);
    runtime.block_on(async {
        let client = Client::connect_without_tokens(patient(relay.peer), &node.address).await;
        let wallet = Bare::new(&client, 1);
        let call = insert(&client, 1);
        let reply = ask(
            &client,
            call.clone(),
            paid(&wallet.pay(&pair, &call, INSERT)),
        )
        .await;
        assert_eq!(reply.outcome, Ok(Done::Inserted));
    });
    assert!(node.process.terminate().0.success());
    let (supply, usage) = stored(folder.path());
    assert_eq!(
        supply.outstanding,
        before.0.outstanding - u128::from(INSERT)
    );
    assert_eq!(usage.blobs, before.1.blobs + 1);
}
