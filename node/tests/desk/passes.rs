//! Who is handed passes, and which.

use larder_protocol::envelope::BIG_LEN;
use larder_protocol::{Call, Done, Pass, Payment, Refusal, Reply};

use crate::scene::*;

/// The passes that the record commits to are handed out, and those only.
fn handed(scene: &Scene, reply: &Reply) -> Option<[Pass; 2]> {
    let passes = reply.extension.passes.as_deref().copied();
    let committed = scene.record().tariff.expect("a tariff").passes;
    if let Some(passes) = &passes {
        assert_eq!(Some(passes.map(|pass| pass.commitment())), committed);
    }
    passes
}

#[test]
fn whatever_is_paid_for_is_answered_with_the_passes_of_the_record_and_nothing_else_is() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let quoted = scene.ask(Call::Quote(wallet.quote(100, 1, None)), Payment::None);
    assert_eq!(handed(&scene, &quoted), None);
    let purchase = wallet.purchase(&scene, 0, 100);
    // A claim that nobody asked a quote for, and so nobody has paid.
    let unknown = scene.ask(Call::Purchase, paid(&wallet.purchase(&scene, 1, 100)));
    assert_eq!(unknown.outcome, Err(Refusal::UnknownClaim));
    assert_eq!(handed(&scene, &unknown), None);
    let bought = scene.ask(Call::Purchase, paid(&purchase));
    let mut passes = Vec::from_iter(handed(&scene, &bought));
    let mut pair = wallet.accept(&scene, purchase, bought).pair;
    assert_eq!(handed(&scene, &scene.ask(Call::Info, Payment::None)), None);

    // The second insert is refused, and costs what a look-up does.
    let calls = [insert(1, 1), insert(1, 2), lookup(1), lookup(2)];
    let priced = calls.into_iter().chain([delete(&scene, 1), Call::Transfer]);
    for call in priced {
        let in_flight = wallet.pay(&scene, &pair, &call);
        let reply = scene.ask(call, paid(&in_flight));
        passes.extend(handed(&scene, &reply));
        pair = wallet.accept(&scene, in_flight, reply).pair;
    }
    assert_eq!(passes.len(), 7);
    assert!(passes.iter().all(|pass| *pass == passes[0]));

    // What is refused before it is paid brings none.
    let call = insert(3, 1);
    let cheap = wallet.pay_with(&scene.terms(), &pair, &call, 15);
    let refused = scene.ask(call, paid(&cheap));
    assert_eq!(refused.outcome, Err(Refusal::WrongPrice { price: 16 }));
    assert_eq!(handed(&scene, &refused), None);

    scene.next_epoch();
    let in_flight = wallet.pay_with(&scene.terms(), &pair, &Call::Reissue, 0);
    let reissued = scene.ask(Call::Reissue, paid(&in_flight));
    assert_eq!(reissued.outcome, Ok(Done::Exchanged));
    assert_eq!(handed(&scene, &reissued), None);
}

#[test]
fn all_clients_are_handed_the_same_passes_and_after_a_restart_too() {
    let scene = scene();
    let passes_of = |scene: &Scene, number: u8| {
        let mut wallet = Wallet::new(number);
        let pair = wallet.buy(scene, 100);
        let in_flight = wallet.pay(scene, &pair, &lookup(number));
        let reply = scene.ask(lookup(number), paid(&in_flight));
        handed(scene, &reply).expect("a look-up has a price")
    };
    let first = passes_of(&scene, 2);
    assert_eq!(passes_of(&scene, 3), first);
    let scene = scene.restarted(Some(sale(offer()))).unwrap();
    assert_eq!(passes_of(&scene, 4), first);
    assert_eq!(scene.desk.honoured()[1], first[0]);
    // One was handed out before its epoch began, the other one is new.
    scene.next_epoch();
    let second = passes_of(&scene, 5);
    assert_eq!(second[0], first[1]);
    assert!(!first.contains(&second[1]));
    // Somebody may not know yet that the epoch before is over.
    assert_eq!(scene.desk.honoured(), [first[0], second[0]]);
}

#[test]
fn a_retry_brings_the_same_passes_while_its_epoch_lasts_and_none_later_so_one_payment_is_no_season_ticket()
 {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let pair = wallet.buy(&scene, 100);
    let in_flight = wallet.pay(&scene, &pair, &lookup(1));
    let ask = || scene.ask(lookup(1), paid(&in_flight));
    let first = handed(&scene, &ask());
    assert!(first.is_some());
    assert_eq!(handed(&scene, &ask()), first);
    for _ in 0..2 {
        scene.next_epoch();
        let again = ask();
        assert!(again.replacement.is_some());
        assert_eq!(handed(&scene, &again), None);
    }
}

#[test]
fn a_payment_makes_a_request_big_and_a_node_that_sells_nothing_has_no_passes() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let pair = wallet.buy(&scene, 100);
    let in_flight = wallet.pay(&scene, &pair, &lookup(1));
    // An answer of the same class has room for passes.
    assert!(in_flight.core().len() >= BIG_LEN);
    let free = scene_without_sale();
    let inserted = free.ask(insert(1, 1), Payment::None);
    assert_eq!(inserted.outcome, Ok(Done::Inserted));
    assert!(inserted.extension.passes.is_none() && free.record().tariff.is_none());
    assert!(free.desk.honoured().is_empty());
}
