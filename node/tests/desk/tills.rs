//! Buying tokens: quotes, vouchers, payments that settle later, purchases.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use larder_credentials::ClaimTag;
use larder_node::till::{Giveaway, NoPayment, Order, Ordered, Settlements, Till, Vouchers};
use larder_node::{Identity, NodeError, Sale};
use larder_protocol::{Call, Done, Quote, Quoted, Refusal, Voucher};
use larder_store::Options;

use crate::scene::*;

const DAY: u64 = 24 * 60 * 60;

fn vouchers() -> Vouchers {
    Vouchers::new(&Identity::from_seed(SEED))
}

fn at_vouchers() -> Scene {
    let till = Arc::new(vouchers());
    let offer = offer();
    Scene::of(options(), Sale { offer, till })
}

fn voucher(id: u8, tokens: u64) -> Voucher {
    vouchers().issue([id; 16], tokens, START + 1_000)
}

/// A node that is paid in Lightning, and a wallet.
fn at_lightning() -> (Lightning, Scene, Wallet) {
    let till = Lightning::default();
    let scene = Scene::of(options(), till.sale());
    (till, scene, Wallet::new(2))
}

/// What a node that takes it answers to a quote.
fn quoted(scene: &Scene, quote: &Quote) -> Quoted {
    match scene.free(Call::Quote(quote.clone())) {
        Ok(Done::Quoted(quoted)) => quoted,
        other => panic!("no quote: {other:?}"),
    }
}

/// Takes the 100 tokens of a claim that is paid.
fn take(wallet: &Wallet, scene: &Scene, claim: u64) {
    let purchase = wallet.purchase(scene, claim, 100);
    let taken = wallet.settle(scene, Call::Purchase, purchase);
    assert_eq!(taken.pair.total(), 100);
}

#[test]
fn a_voucher_opens_the_claims_of_one_quote_and_each_is_taken_once() {
    let (scene, mut wallet) = (at_vouchers(), Wallet::new(2));
    let code = voucher(1, 300).encode();
    let quote = wallet.quote(100, 3, Some(code.clone()));
    let first = quoted(&scene, &quote);
    assert!(first.paid && first.request.is_empty());
    assert_eq!(first.expires, START + 1_000);
    // A lost answer is given again, to the one who asks with the same claims.
    assert_eq!(quoted(&scene, &quote), first);
    let thief = Wallet::new(3).quote(100, 3, Some(code));
    assert_eq!(scene.free(Call::Quote(thief)), Err(Refusal::VoucherUsed));
    for claim in 0..3 {
        take(&wallet, &scene, claim);
    }
    assert_eq!(scene.tokens_outstanding(), 300);
    // The same purchase again costs nothing and gives nothing new; another one gives nothing.
    let again = wallet.purchase(&scene, 0, 100);
    wallet.settle(&scene, Call::Purchase, again);
    let claim = wallet.root.claim_secret(0);
    let other = larder_credentials::InFlight::purchase(
        &wallet.root,
        &scene.terms(),
        &claim,
        100,
        Some([40, 60]),
    )
    .unwrap();
    let refused = scene.ask(Call::Purchase, paid(&other)).outcome;
    assert_eq!(refused, Err(Refusal::AlreadyClaimed));
    assert_eq!(scene.tokens_outstanding(), 300);
    // Neither did the quote become worth more by asking again.
    assert_eq!(quoted(&scene, &quote), first);
}

#[test]
fn a_voucher_that_is_not_ours_not_worth_that_or_too_old_opens_nothing() {
    let (scene, mut wallet) = (at_vouchers(), Wallet::new(2));
    let mut ask = |tokens, claims, code: Vec<u8>| {
        scene.free(Call::Quote(wallet.quote(tokens, claims, Some(code))))
    };
    let foreign = Vouchers::new(&Identity::from_seed([2; 32]));
    let foreign = foreign.issue([1; 16], 100, START + 1_000);
    assert_eq!(ask(100, 1, foreign.encode()), Err(Refusal::BadVoucher));
    assert_eq!(
        ask(100, 1, voucher(1, 200).encode()),
        Err(Refusal::BadVoucher)
    );
    assert_eq!(
        ask(100, 3, voucher(1, 200).encode()),
        Err(Refusal::BadVoucher)
    );
    let mut raised = voucher(1, 100).encode();
    raised[24] ^= 0x80;
    assert_eq!(ask(100, 1, raised), Err(Refusal::BadVoucher));
    assert_eq!(ask(100, 1, vec![1; 49]), Err(Refusal::BadVoucher));
    assert_eq!(ask(100, 1, vec![1; 10]), Err(Refusal::BadVoucher));
    // What is not sold: an amount that the record does not list, tokens without a voucher.
    assert_eq!(
        ask(50, 2, voucher(1, 100).encode()),
        Err(Refusal::NotOffered)
    );
    let without = scene.free(Call::Quote(Wallet::new(4).quote(100, 1, None)));
    assert_eq!(without, Err(Refusal::NotOffered));
    // None of it has used the voucher up; time does.
    let good = ask(100, 2, voucher(1, 200).encode());
    assert!(matches!(good, Ok(Done::Quoted(quoted)) if quoted.paid));
    scene.later(1_000);
    assert_eq!(
        ask(100, 2, voucher(2, 200).encode()),
        Err(Refusal::BadVoucher)
    );
}

#[test]
fn claims_that_are_open_outlive_the_voucher_and_the_voucher_is_not_good_twice() {
    let (scene, mut wallet) = (at_vouchers(), Wallet::new(2));
    let code = voucher(1, 100).encode();
    let quote = wallet.quote(100, 1, Some(code.clone()));
    assert!(quoted(&scene, &quote).paid);
    scene.later(2_000);
    scene.next_epoch();
    assert!(quoted(&scene, &quote).paid);
    take(&wallet, &scene, 0);
    for _ in 0..4 {
        scene.next_epoch();
    }
    let quote = Wallet::new(3).quote(100, 1, Some(code));
    let refused = scene.free(Call::Quote(quote));
    assert!(matches!(
        refused,
        Err(Refusal::BadVoucher | Refusal::VoucherUsed)
    ));
    assert_eq!(scene.tokens_outstanding(), 100);
}

#[test]
fn a_claim_of_somebody_else_cannot_be_opened_again_by_another_payment() {
    let (scene, mut wallet) = (at_vouchers(), Wallet::new(2));
    let quote = wallet.quote(100, 1, Some(voucher(1, 100).encode()));
    assert!(quoted(&scene, &quote).paid);
    let other = Quote {
        voucher: Some(voucher(2, 100).encode()),
        ..quote
    };
    assert_eq!(scene.free(Call::Quote(other)), Err(Refusal::AlreadyClaimed));
}

#[test]
fn nothing_is_bought_without_a_quote_nor_for_another_amount() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let unknown = wallet.purchase(&scene, 0, 100);
    let refused = scene.ask(Call::Purchase, paid(&unknown)).outcome;
    assert_eq!(refused, Err(Refusal::UnknownClaim));
    let quote = wallet.quote(100, 1, None);
    assert!(quoted(&scene, &quote).paid);
    let more = wallet.purchase(&scene, 0, 1_000);
    let refused = scene.ask(Call::Purchase, paid(&more)).outcome;
    assert_eq!(refused, Err(Refusal::WrongPrice { price: 100 }));
    // A till that gives tokens away does not take what is worth something elsewhere.
    let wasted = wallet.quote(100, 1, Some(voucher(1, 100).encode()));
    assert_eq!(scene.free(Call::Quote(wasted)), Err(Refusal::NotOffered));
}

/// Lightning as it looks from here: payments settle when they settle, and the stream of them
/// can be read again from a cursor. It outlives the node.
#[derive(Default)]
struct Backend {
    /// Whether it is paid, and when it expires.
    invoices: BTreeMap<[u8; 32], (bool, u64)>,
    stream: Vec<[u8; 32]>,
    cursor: usize,
}

#[derive(Clone, Default)]
struct Lightning {
    backend: Arc<Mutex<Backend>>,
    node: Arc<Mutex<Option<Settlements>>>,
}

impl Lightning {
    fn sale(&self) -> Sale {
        let till = Arc::new(self.clone());
        let offer = offer();
        Sale { offer, till }
    }

    /// Somebody pays; the node may or may not be there to hear it.
    fn pay(&self, request: &str) {
        let payment = name(request.as_bytes());
        let mut backend = self.backend.lock().unwrap();
        if let Some((paid, _)) = backend.invoices.get_mut(&payment) {
            *paid = true;
        }
        backend.stream.push(payment);
    }

    /// Reports what has settled since the cursor; moves it after each.
    fn report(&self) -> Result<Vec<bool>, NodeError> {
        let node = self.node.lock().unwrap().clone().unwrap();
        let mut known = Vec::new();
        loop {
            let next = {
                let backend = self.backend.lock().unwrap();
                backend.stream.get(backend.cursor).copied()
            };
            let Some(payment) = next else {
                return Ok(known);
            };
            known.push(node.settle(payment)?);
            self.backend.lock().unwrap().cursor += 1;
        }
    }
}

fn invoice(tags: &[ClaimTag]) -> String {
    format!("lnbc{:x}", tags[0].0[0])
}

fn name(invoice: &[u8]) -> [u8; 32] {
    let mut name = [0; 32];
    name[..invoice.len()].copy_from_slice(invoice);
    name
}

impl Till for Lightning {
    fn order(&self, order: &Order<'_>) -> Result<Ordered, NoPayment> {
        if order.voucher.is_some() {
            return Err(NoPayment::NotTaken);
        }
        let Ok(mut backend) = self.backend.try_lock() else {
            return Err(NoPayment::Closed);
        };
        let request = invoice(order.tags);
        let payment = name(request.as_bytes());
        let made = backend.invoices.entry(payment);
        let (settled, expires) = *made.or_insert((false, order.now + 600));
        Ok(Ordered {
            payment,
            request,
            expires,
            settled,
        })
    }

    fn open(&self, settlements: Settlements) {
        *self.node.lock().unwrap() = Some(settlements);
    }

    fn name(&self) -> &'static str {
        "a test's lightning"
    }
}

#[test]
fn a_payment_that_settles_while_the_node_is_down_is_credited_once_after_the_restart() {
    let (till, scene, mut wallet) = at_lightning();
    let quote = wallet.quote(100, 2, None);
    let open = quoted(&scene, &quote);
    assert!(!open.paid && open.expires == START + 600);
    assert_eq!(open.request, invoice(&quote.tags));
    let early = wallet.purchase(&scene, 0, 100);
    let refused = scene.ask(Call::Purchase, paid(&early)).outcome;
    assert_eq!(refused, Err(Refusal::NotPaid));

    // Half of it is told before the crash, and told again after it.
    till.pay(&open.request);
    let Scene {
        folder,
        clock,
        engine,
        desk,
    } = scene;
    drop(desk);
    assert!(matches!(till.report(), Err(NodeError::Stopped)));
    let desk = larder_node::Desk::open(
        engine.clone(),
        Identity::from_seed(SEED),
        Some(till.sale()),
        BREAKGLASS,
        clock.clone(),
    );
    let scene = Scene {
        folder,
        clock,
        engine,
        desk: desk.unwrap(),
    };
    assert_eq!(till.report().unwrap(), [true]);
    till.backend.lock().unwrap().cursor = 0;
    assert_eq!(till.report().unwrap(), [true]);
    let paid_now = quoted(&scene, &quote);
    assert!(paid_now.paid && paid_now.request.is_empty());
    for claim in 0..2 {
        take(&wallet, &scene, claim);
    }
    assert_eq!(scene.tokens_outstanding(), 200);
    // Whoever pays what nobody here asked for is not ours to credit.
    till.pay("lnbcff");
    assert_eq!(till.report().unwrap(), [false]);
}

#[test]
fn a_client_that_asks_again_learns_of_its_payment_before_the_stream_tells() {
    let (till, scene, mut wallet) = at_lightning();
    let quote = wallet.quote(100, 1, None);
    let open = quoted(&scene, &quote);
    till.pay(&open.request);
    let now = quoted(&scene, &quote);
    assert!(now.paid);
    take(&wallet, &scene, 0);
    assert_eq!(till.report().unwrap(), [true]);
    assert_eq!(scene.tokens_outstanding(), 100);
}

#[test]
fn a_payment_that_was_made_in_time_counts_although_it_is_learned_of_late() {
    let (till, scene, mut wallet) = at_lightning();
    let quote = wallet.quote(100, 1, None);
    let open = quoted(&scene, &quote);
    till.pay(&open.request);
    // The node forgets what nobody has told it of; the client asks after that.
    scene.later(601);
    scene.next_epoch();
    assert!(quoted(&scene, &quote).paid);
    take(&wallet, &scene, 0);
    assert_eq!(scene.tokens_outstanding(), 100);
}

#[test]
fn a_paid_claim_outlives_its_till_and_its_denomination() {
    let tills: [fn() -> Arc<dyn Till>; 3] = [
        || Arc::new(vouchers()),
        || Arc::new(Giveaway),
        || Arc::new(Lightning::default()),
    ];
    for with_voucher in [true, false] {
        for after in tills {
            let (lightning, mut wallet) = (Lightning::default(), Wallet::new(2));
            let (scene, code) = match with_voucher {
                true => (at_vouchers(), Some(voucher(1, 100).encode())),
                false => (Scene::of(options(), lightning.sale()), None),
            };
            let quote = wallet.quote(100, 1, code);
            let open = quoted(&scene, &quote);
            if !open.paid {
                lightning.pay(&open.request);
                assert!(quoted(&scene, &quote).paid);
            }
            let mut offer = offer();
            offer.denominations = vec![500];
            let till = after();
            let scene = scene.restarted(Some(Sale { offer, till })).unwrap();
            scene.next_epoch();
            let again = quoted(&scene, &quote);
            assert!(again.paid && again.request.is_empty());
            take(&wallet, &scene, 0);
        }
    }
}

#[test]
fn a_till_that_does_not_answer_opens_nothing_and_asking_later_helps() {
    let (till, scene, mut wallet) = at_lightning();
    let quote = wallet.quote(100, 1, None);
    let down = till.backend.lock().unwrap();
    assert_eq!(scene.free(Call::Quote(quote.clone())), Err(Refusal::Busy));
    drop(down);
    assert!(!quoted(&scene, &quote).paid);
}

#[test]
fn more_unpaid_claims_than_the_bound_are_turned_away_until_older_ones_expire() {
    let (till, mut wallet) = (Lightning::default(), Wallet::new(2));
    let bound = Options {
        open_claims: 3,
        ..options()
    };
    let scene = Scene::of(bound, till.sale());
    for _ in 0..3 {
        let quote = wallet.quote(100, 1, None);
        assert!(!quoted(&scene, &quote).paid);
    }
    let quote = wallet.quote(100, 1, None);
    assert_eq!(scene.free(Call::Quote(quote)), Err(Refusal::Busy));
    scene.later(601);
    let quote = wallet.quote(100, 1, None);
    assert!(!quoted(&scene, &quote).paid);
}

#[test]
fn a_payment_that_was_made_in_time_and_is_reported_late_is_credited() {
    let (till, scene, mut wallet) = at_lightning();
    let quote = wallet.quote(100, 1, None);
    let open = quoted(&scene, &quote);
    till.pay(&open.request);
    scene.later(601);
    scene.next_epoch();
    assert_eq!(till.report().unwrap(), [true]);
    assert!(quoted(&scene, &quote).paid);
    take(&wallet, &scene, 0);
}

#[test]
fn what_was_not_paid_in_time_is_forgotten_and_other_claims_get_another_invoice() {
    let (till, scene, mut wallet) = at_lightning();
    let quote = wallet.quote(100, 1, None);
    let open = quoted(&scene, &quote);
    scene.later(600 + DAY + 1);
    scene.next_epoch();
    let refused = scene.free(Call::Quote(quote));
    assert_eq!(refused, Err(Refusal::UnknownClaim));
    till.pay(&open.request);
    assert_eq!(till.report().unwrap(), [false]);
    let late = wallet.purchase(&scene, 0, 100);
    let refused = scene.ask(Call::Purchase, paid(&late)).outcome;
    assert_eq!(refused, Err(Refusal::UnknownClaim));
    let quote = wallet.quote(100, 1, None);
    assert!(!quoted(&scene, &quote).paid);
}
