//! Breakglass cells: what a put costs, what an open dooms, and what becomes of that.

use larder_protocol::delete::Delete;
use larder_protocol::{
    BlobHash, BreakglassOpen, BreakglassPut, CELL_BYTES, Call, Cell, Done, Nonce, OpenedCell,
    Payment, Refusal, Reply, Request, ServerKey, SizeClass, envelope,
};
use larder_store::Engine;

use crate::scene::*;

const TIMER: u64 = BREAKGLASS.seconds as u64;
const DAY: u64 = 24 * 60 * 60;

fn cell(content: u8) -> Cell {
    Cell([content; CELL_BYTES])
}

/// The put of a cell under this key, as its owner signs it.
fn put(scene: &Scene, number: u8, sequence: u64, content: u8) -> Call {
    let server = scene.desk.server_key();
    let put = BreakglassPut::sign(&keypair(number), &server, sequence, cell(content));
    Call::BreakglassPut(Box::new(put))
}

/// The open of the cell under this key, for the nonce that a scene asks with.
fn open(scene: &Scene, number: u8) -> Call {
    let server = scene.desk.server_key();
    Call::BreakglassOpen(BreakglassOpen::sign(
        &keypair(number),
        &server,
        Nonce([9; 32]),
    ))
}

fn opened(sequence: u64, content: u8, seconds: u64) -> Result<Done, Refusal> {
    Ok(Done::Cell(Box::new(OpenedCell {
        sequence,
        cell: cell(content),
        seconds: seconds.try_into().unwrap(),
    })))
}

fn bad_signature() -> Result<Done, Refusal> {
    let blob_hash = BlobHash([0; 32]);
    Err(Refusal::BadSignature { blob_hash })
}

/// Where the store notes how many batches it has committed.
fn witnesses(scene: &Scene) -> Vec<u8> {
    let slots = std::fs::read(scene.folder.path().join("store/blobs.slots")).unwrap();
    slots[4_096..16_384].to_vec()
}

#[test]
fn a_put_costs_its_price_its_retry_nothing_and_one_that_is_refused_a_look_up() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let pair = wallet.buy(&scene, 1_000);
    let call = put(&scene, 1, 5, 1);
    let in_flight = wallet.pay(&scene, &pair, &call);
    let again = paid(&in_flight);
    let done = wallet.settle(&scene, call.clone(), in_flight);
    assert_eq!(done.outcome, Ok(Done::CellStored));
    assert_eq!((done.pair.total(), done.status, done.adjust), (936, 0, 0));
    assert_eq!(scene.ask(call.clone(), again).outcome, Ok(Done::CellStored));
    assert_eq!(scene.tokens_outstanding(), 936);

    // Paid once more it is done, and was paid for.
    let same = wallet.perform(&scene, &done.pair, call);
    assert_eq!(same.outcome, Ok(Done::CellStored));
    let mut pair = same.pair;
    let server = scene.desk.server_key();
    let forged = BreakglassPut {
        key: key(1),
        ..BreakglassPut::sign(&keypair(2), &server, 9, cell(2))
    };
    let blob_hash = cell(2).hash();
    let stale = Refusal::StaleSequence { current: 5 };
    for (call, refusal, status) in [
        (put(&scene, 1, 5, 2), stale.clone(), 0x17),
        (put(&scene, 1, 4, 1), stale, 0x17),
        (
            Call::BreakglassPut(Box::new(forged)),
            Refusal::BadSignature { blob_hash },
            0x16,
        ),
    ] {
        let before = pair.total();
        let refused = wallet.perform(&scene, &pair, call);
        assert_eq!(refused.outcome, Err(refusal));
        assert_eq!((refused.status, refused.adjust), (status, 62));
        assert_eq!(refused.pair.total(), before - 2);
        pair = refused.pair;
    }
    let there = scene.engine.cell(&key(1), START).unwrap().unwrap();
    assert_eq!((there.sequence, there.cell), (5, cell(1)));
    assert_eq!(scene.tokens_outstanding(), pair.total());
    // Nothing at all for one that is not paid.
    let unpaid = scene.free(put(&scene, 1, 6, 1));
    assert_eq!(unpaid, Err(Refusal::WrongPrice { price: 64 }));
}

#[test]
fn a_cell_is_opened_without_tokens_again_and_again_until_its_time_is_over() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let tariff = scene.record().tariff.unwrap();
    assert_eq!(u64::from(tariff.breakglass_seconds), TIMER);
    let pair = wallet.buy(&scene, 100);
    wallet.perform(&scene, &pair, put(&scene, 1, 5, 1));
    let tokens = scene.tokens_outstanding();
    let ask = |scene: &Scene| scene.free(open(scene, 1));
    assert_eq!(ask(&scene), opened(5, 1, TIMER));
    // From now on it only reads.
    let before = witnesses(&scene);
    scene.later(1_000);
    assert_eq!(ask(&scene), opened(5, 1, TIMER - 1_000));
    assert_eq!(witnesses(&scene), before);
    // A restart, and an epoch's end, change nothing about it.
    let scene = scene.restarted(Some(sale(offer()))).unwrap();
    scene.next_epoch();
    scene.later(TIMER - 1_001);
    assert_eq!(ask(&scene), opened(5, 1, 1));
    scene.later(1);
    assert_eq!(ask(&scene), Err(Refusal::Absent));
    assert_eq!(scene.tokens_outstanding(), tokens, "it is free");
}

#[test]
fn a_cell_is_gone_also_if_the_node_was_down_when_its_time_was_over() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let pair = wallet.buy(&scene, 1_000);
    let pair = wallet.perform(&scene, &pair, put(&scene, 1, 5, 1)).pair;
    let pair = wallet.perform(&scene, &pair, put(&scene, 2, 5, 2)).pair;
    assert_eq!(scene.free(open(&scene, 1)), opened(5, 1, TIMER));
    scene.later(2 * TIMER);
    let scene = scene.restarted(Some(sale(offer()))).unwrap();
    assert_eq!(scene.free(open(&scene, 1)), Err(Refusal::Absent));
    // One that nobody opened has no time.
    assert_eq!(scene.free(open(&scene, 2)), opened(5, 2, TIMER));
    // Nothing is remembered of it, so its key can be used from the beginning.
    let done = wallet.perform(&scene, &pair, put(&scene, 1, 0, 3));
    assert_eq!(done.outcome, Ok(Done::CellStored));
    assert_eq!(scene.free(open(&scene, 1)), opened(0, 3, TIMER));
}

#[test]
fn a_clock_that_jumped_while_the_node_was_down_costs_no_cell_before_it_is_believed() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let pair = wallet.buy(&scene, 1_000);
    wallet.perform(&scene, &pair, put(&scene, 1, 5, 1));
    assert_eq!(scene.free(open(&scene, 1)), opened(5, 1, TIMER));
    // For longer than an epoch; or it says so.
    scene.later(10 * TIMER);
    let scene = scene.restarted(Some(sale(offer()))).unwrap();
    assert_eq!(scene.free(open(&scene, 1)), opened(5, 1, TIMER));
    scene.later(DAY - 1);
    assert_eq!(scene.free(open(&scene, 1)), opened(5, 1, TIMER - DAY + 1));
    scene.later(1);
    assert_eq!(scene.free(open(&scene, 1)), Err(Refusal::Absent));
}

#[test]
fn a_put_of_a_higher_sequence_clears_the_doom_and_an_old_one_does_nothing_to_it() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let pair = wallet.buy(&scene, 1_000);
    let old = put(&scene, 1, 5, 1);
    let in_flight = wallet.pay(&scene, &pair, &old);
    let old_payment = || paid(&wallet.pay(&scene, &pair, &old));
    let pair = wallet.settle(&scene, old.clone(), in_flight).pair;
    assert_eq!(scene.free(open(&scene, 1)), opened(5, 1, TIMER));
    // The retry of a put is no sign of life, nor is the same put paid once more.
    let stale = |current| Err(Refusal::StaleSequence { current });
    assert_eq!(scene.ask(old.clone(), old_payment()).outcome, stale(5));
    let refused = wallet.perform(&scene, &pair, old.clone());
    assert_eq!(refused.outcome, stale(5));
    let done = wallet.perform(&scene, &refused.pair, put(&scene, 1, 6, 2));
    assert_eq!(done.outcome, Ok(Done::CellStored));
    scene.later(2 * TIMER);
    assert_eq!(
        scene
            .engine
            .cell(&key(1), START + 2 * TIMER)
            .unwrap()
            .unwrap()
            .sequence,
        6
    );
    // Whoever kept the old one cannot bring it back: not its bytes, not with a payment of his own.
    assert_eq!(scene.ask(old.clone(), old_payment()).outcome, stale(6));
    let mut other = Wallet::new(3);
    let theirs = other.buy(&scene, 100);
    assert_eq!(other.perform(&scene, &theirs, old).outcome, stale(6));
    assert_eq!(scene.free(open(&scene, 1)), opened(6, 2, TIMER));
}

#[test]
fn the_retry_of_a_put_whose_cell_is_gone_hears_that() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let pair = wallet.buy(&scene, 1_000);
    let call = put(&scene, 1, 5, 1);
    let in_flight = wallet.pay(&scene, &pair, &call);
    let payment = || paid(&wallet.pay(&scene, &pair, &call));
    let pair = wallet.settle(&scene, call.clone(), in_flight).pair;
    scene.free(open(&scene, 1)).unwrap();
    scene.later(TIMER);
    let retried = |call: &Call| scene.ask(call.clone(), payment()).outcome;
    assert_eq!(retried(&call), Err(Refusal::Absent));
    // What came after it is not it.
    wallet.perform(&scene, &pair, put(&scene, 1, 3, 2));
    assert_eq!(retried(&call), Err(Refusal::Absent));
}

#[test]
fn an_open_for_another_server_cell_operation_or_request_opens_nothing_and_tells_nothing() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let pair = wallet.buy(&scene, 1_000);
    let pair = wallet.perform(&scene, &pair, put(&scene, 1, 5, 1)).pair;
    wallet.perform(&scene, &pair, put(&scene, 2, 5, 2));
    let (server, nonce) = (scene.desk.server_key(), Nonce([9; 32]));
    let elsewhere = ServerKey::from(keypair(7).public_key());
    let by = |number, server: &ServerKey, nonce| {
        BreakglassOpen::sign(&keypair(number), server, nonce).signature
    };
    let delete = Delete::sign(&keypair(1), &server, BlobHash(nonce.0)).signature;
    let put = BreakglassPut::sign(&keypair(1), &server, 5, cell(1)).signature;
    for signature in [
        by(1, &elsewhere, nonce),
        by(2, &server, nonce),
        by(1, &server, Nonce([8; 32])),
        delete,
        put,
        [0; 64],
    ] {
        // Whether there is a cell (1) or none (3).
        for number in [1, 3] {
            let key = key(number);
            let call = Call::BreakglassOpen(BreakglassOpen { key, signature });
            assert_eq!(scene.free(call), bad_signature());
        }
    }
    let doomed = |number| {
        let there = scene.engine.cell(&key(number), START).unwrap();
        there.unwrap().deadline.is_some()
    };
    assert!(!doomed(1) && !doomed(2));
    assert_eq!(scene.free(open(&scene, 3)), Err(Refusal::Absent));
    assert_eq!(scene.free(open(&scene, 1)), opened(5, 1, TIMER));
    assert!(doomed(1) && !doomed(2));
    // What is free cannot be paid for.
    let payment = Payment::Credentials(vec![1; 1_000]);
    let refused = scene.ask(open(&scene, 1), payment).outcome;
    assert_eq!(refused, Err(Refusal::WrongPrice { price: 0 }));
}

#[test]
fn opens_beyond_the_allowance_of_a_second_are_dropped_and_nothing_else_is() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let pair = wallet.buy(&scene, 1_000);
    let pair = wallet.perform(&scene, &pair, put(&scene, 1, 5, 1)).pair;
    let contents = |call: Call| {
        let request = Request::unpaid(Nonce([9; 32]), call);
        envelope::wrap(&request.encode(), SizeClass::Big).unwrap()
    };
    let garbage = contents(Call::BreakglassOpen(BreakglassOpen {
        key: key(1),
        signature: [1; 64],
    }));
    let answered = |contents: &[u8], times| {
        let answers = (0..times).map(|_| scene.desk.answer(contents));
        answers.filter(|answer| !answer.is_empty()).count()
    };
    let most = BREAKGLASS.opens_per_second as usize;
    assert_eq!(answered(&garbage, 10 * most), most);
    let genuine = contents(open(&scene, 1));
    assert_eq!(answered(&genuine, 1), 0);
    let there = scene.engine.cell(&key(1), START).unwrap().unwrap();
    assert_eq!(there.deadline, None, "it was not even looked at");
    // Whoever pays does not notice, nor whoever asks for the terms.
    let done = wallet.perform(&scene, &pair, put(&scene, 1, 6, 2));
    assert_eq!(done.outcome, Ok(Done::CellStored));
    assert!(scene.free(Call::Info).is_ok());
    scene.later(1);
    assert_eq!(scene.free(open(&scene, 1)), opened(6, 2, TIMER));
}

#[test]
fn an_open_fits_the_small_class() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let pair = wallet.buy(&scene, 1_000);
    wallet.perform(&scene, &pair, put(&scene, 1, 5, 1));
    let request = Request::unpaid(Nonce([9; 32]), open(&scene, 1));
    let contents = envelope::wrap(&request.encode(), SizeClass::Small).unwrap();
    let answer = scene.desk.answer(&contents);
    assert_eq!(SizeClass::of(&answer), SizeClass::Small);
    let reply = Reply::decode(envelope::unwrap(&answer).unwrap()).unwrap();
    assert_eq!(reply.outcome, opened(5, 1, TIMER));
}

#[test]
fn a_node_that_serves_for_free_keeps_cells_too_and_takes_a_retry_for_what_it_is() {
    let scene = scene_without_sale();
    let call = put(&scene, 1, 5, 1);
    assert_eq!(scene.free(call.clone()), Ok(Done::CellStored));
    let before = witnesses(&scene);
    assert_eq!(scene.free(call), Ok(Done::CellStored));
    assert_eq!(witnesses(&scene), before, "it wrote nothing");
    let stale = Err(Refusal::StaleSequence { current: 5 });
    assert_eq!(scene.free(put(&scene, 1, 5, 2)), stale);
    assert_eq!(scene.free(open(&scene, 1)), opened(5, 1, TIMER));
    assert_eq!(scene.free(put(&scene, 1, 6, 2)), Ok(Done::CellStored));
    assert_eq!(scene.free(open(&scene, 1)), opened(6, 2, TIMER));
}

#[test]
fn a_put_and_an_open_that_meet_end_as_if_one_had_come_first() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    for number in 1..11 {
        let pair = wallet.buy(&scene, 1_000);
        let pair = wallet
            .perform(&scene, &pair, put(&scene, number, 5, 1))
            .pair;
        let newer = put(&scene, number, 6, 2);
        let payment = paid(&wallet.pay(&scene, &pair, &newer));
        let [stored, found] = crate::races::at_once(
            &scene,
            (newer, payment),
            (open(&scene, number), Payment::None),
        );
        assert_eq!(stored.outcome, Ok(Done::CellStored));
        let there = scene.engine.cell(&key(number), START).unwrap().unwrap();
        assert_eq!((there.sequence, there.cell), (6, cell(2)));
        // Who opened the old one has not doomed the new one.
        let first = found.outcome == opened(5, 1, TIMER);
        assert!(first || found.outcome == opened(6, 2, TIMER), "{found:?}");
        assert_eq!(there.deadline.is_none(), first);
    }
}
