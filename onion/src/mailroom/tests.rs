use std::sync::mpsc;
use std::time::Duration;

use lightning::onion_message::messenger::Destination;

use super::*;
use crate::keys::Keys;
use crate::parcel::{BIG_HOP_DATA, Parcel, SMALL_HOP_DATA};
use larder_protocol::{Pass, REQUEST_TLV};

const LIMITS: MailroomLimits = MailroomLimits {
    inbound_peers: 2,
    inbox_per_peer: 3,
    inbox_with_pass: 5,
    inbox_without_pass: 5,
    outbox_per_peer: 3,
    outbox_with_pass: 5,
    outbox_without_pass: 5,
    pace: None,
};

fn peer() -> PublicKey {
    Keys::random().node_id()
}

fn message() -> OnionMessage {
    message_to(Destination::Node(peer()))
}

fn message_with(pass: &Pass) -> OnionMessage {
    let path = Keys::random().path_with(pass, peer()).unwrap();
    message_to(Destination::BlindedPath(path))
}

fn message_to(destination: Destination) -> OnionMessage {
    let parcel = Parcel {
        tlv_type: REQUEST_TLV,
        bytes: Vec::new(),
    };
    let built = Keys::random().build(Vec::new(), destination, parcel, None);
    built.unwrap().1
}

/// Knows these passes and no others.
fn honour(mailroom: &Mailroom, passes: &[Pass]) {
    let honoured = passes.iter().map(|pass| Keys::random().honour(pass));
    mailroom.honour(honoured.collect::<Option<_>>().unwrap());
}

fn pass(byte: u8) -> Pass {
    Pass::from_bytes([byte; 32])
}

fn connect(mailroom: &Mailroom, peer: PublicKey, inbound: bool) -> Result<(), ()> {
    let init = Init {
        features: crate::ldk::features(),
        networks: None,
        remote_network_address: None,
    };
    mailroom.peer_connected(peer, &init, inbound)
}

/// Posts what answers no request with a pass.
fn post(mailroom: &Mailroom, to: PublicKey, message: OnionMessage) -> Result<(), Refused> {
    mailroom.post(&to, message, Answers::WithoutPass)
}

#[test]
fn strangers_are_counted_and_those_we_connect_to_come_on_top() {
    let mailroom = Mailroom::new(LIMITS);
    let (first, friend) = (peer(), peer());
    for stranger in [first, peer()] {
        assert_eq!(connect(&mailroom, stranger, true), Ok(()));
        mailroom.handle_onion_message(stranger, &message());
    }
    assert_eq!(connect(&mailroom, peer(), true), Err(()));
    assert_eq!(connect(&mailroom, friend, false), Ok(()));
    mailroom.peer_disconnected(first);
    assert_eq!(connect(&mailroom, peer(), true), Ok(()));
    assert_eq!(mailroom.connected().borrow().len(), 3);
}

#[test]
fn a_peer_without_onion_messages_is_refused() {
    let mailroom = Mailroom::new(LIMITS);
    let init = Init {
        features: InitFeatures::empty(),
        networks: None,
        remote_network_address: None,
    };
    assert_eq!(mailroom.peer_connected(peer(), &init, false), Err(()));
}

#[test]
fn what_does_not_fit_an_inbox_is_dropped_and_counted() {
    let mailroom = Mailroom::new(LIMITS);
    let flooder = peer();
    connect(&mailroom, flooder, true).unwrap();
    for _ in 0..10 {
        mailroom.handle_onion_message(flooder, &message());
    }
    let count = mailroom.count();
    assert_eq!((count.arrived, count.dropped, count.waiting), (10, 7, 3));
}

#[test]
fn small_messages_of_a_peer_take_no_room_from_its_big_ones() {
    let mailroom = Mailroom::new(LIMITS);
    let relay = peer();
    connect(&mailroom, relay, true).unwrap();
    let of_size = |hop_data| {
        let mut message = message();
        message.onion_routing_packet.hop_data.resize(hop_data, 0);
        message
    };
    for _ in 0..10 {
        mailroom.handle_onion_message(relay, &of_size(SMALL_HOP_DATA));
    }
    mailroom.handle_onion_message(relay, &of_size(BIG_HOP_DATA));
    assert_eq!(mailroom.count().dropped, 7);
    // And it has its own turn.
    let first = [
        mailroom.next(Wanted::All).unwrap(),
        mailroom.next(Wanted::All).unwrap(),
    ];
    let sizes = first.map(|mail| mail.message.onion_routing_packet.hop_data.len());
    assert_eq!(sizes, [SMALL_HOP_DATA, BIG_HOP_DATA]);
    mailroom.peer_disconnected(relay);
    assert_eq!(mailroom.count().waiting, 0);
}

#[test]
fn a_message_is_posted_to_a_connected_peer_with_room_or_refused() {
    let mailroom = Mailroom::new(LIMITS);
    let relay = peer();
    assert_eq!(post(&mailroom, relay, message()), Err(Refused::Unknown));
    connect(&mailroom, relay, false).unwrap();
    for _ in 0..3 {
        assert_eq!(post(&mailroom, relay, message()), Ok(()));
    }
    assert_eq!(post(&mailroom, relay, message()), Err(Refused::Full));
    mailroom.peer_disconnected(relay);
    assert_eq!(post(&mailroom, relay, message()), Err(Refused::Unknown));
    assert_eq!(mailroom.count().unsent, 3);
}

#[test]
fn a_paced_peer_gets_its_burst_and_then_waits() {
    let pace = Some(Rate {
        // One in eleven days.
        per_second: 1e-6,
        burst: 2.0,
    });
    let mailroom = Mailroom::new(MailroomLimits { pace, ..LIMITS });
    let relay = peer();
    connect(&mailroom, relay, false).unwrap();
    for _ in 0..3 {
        post(&mailroom, relay, message()).unwrap();
    }
    let given = (0..5).filter_map(|_| mailroom.next_onion_message_for_peer(relay));
    assert_eq!(given.count(), 2);
    assert!(*mailroom.unsent().borrow());
}

#[test]
fn a_message_has_left_when_ldk_asks_for_the_next_one_or_its_peer_is_gone() {
    let mailroom = Mailroom::new(LIMITS);
    let unsent = mailroom.unsent();
    for gone in [false, true] {
        let relay = peer();
        connect(&mailroom, relay, false).unwrap();
        assert!(!*unsent.borrow());
        post(&mailroom, relay, message()).unwrap();
        assert!(*unsent.borrow());
        assert!(mailroom.next_onion_message_for_peer(relay).is_some());
        assert!(*unsent.borrow(), "LDK has it, the socket may not");
        if gone {
            mailroom.peer_disconnected(relay);
        } else {
            assert!(mailroom.next_onion_message_for_peer(relay).is_none());
        }
        assert!(!*unsent.borrow());
    }
}

#[test]
fn closing_wakes_whoever_waits_for_a_message() {
    let mailroom = &Mailroom::new(LIMITS);
    std::thread::scope(|scope| {
        let waits = [Wanted::All, Wanted::WithPass, Wanted::WithoutPass]
            .map(|wanted| scope.spawn(move || mailroom.next(wanted).is_none()));
        mailroom.close();
        assert!(waits.into_iter().all(|waits| waits.join().unwrap()));
    });
}

/// A mailroom that knows pass 1, and two peers of it.
fn with_a_pass() -> (Mailroom, [PublicKey; 2]) {
    let mailroom = Mailroom::new(LIMITS);
    honour(&mailroom, &[pass(1)]);
    let peers = [peer(), peer()];
    for peer in peers {
        connect(&mailroom, peer, true).unwrap();
    }
    (mailroom, peers)
}

#[test]
fn a_message_with_a_pass_is_taken_before_any_other() {
    let (mailroom, [relay, other]) = with_a_pass();
    mailroom.handle_onion_message(relay, &message());
    mailroom.handle_onion_message(other, &message());
    mailroom.handle_onion_message(relay, &message_with(&pass(1)));
    mailroom.handle_onion_message(relay, &message_with(&pass(2)));
    let taken = [(); 4].map(|()| mailroom.next(Wanted::All).unwrap().pass.is_some());
    assert_eq!(taken, [true, false, false, false]);
    assert_eq!(mailroom.count().with_pass, 1);
}

#[test]
fn only_the_passes_named_last_are_known() {
    let (mailroom, [relay, _]) = with_a_pass();
    honour(&mailroom, &[pass(2), pass(3)]);
    let known = [1, 2, 3].map(|byte| {
        mailroom.handle_onion_message(relay, &message_with(&pass(byte)));
        mailroom.next(Wanted::All).unwrap().pass.is_some()
    });
    assert_eq!(known, [false, true, true]);
}

#[test]
fn no_flood_of_either_kind_takes_room_from_the_other() {
    for flood_has_a_pass in [false, true] {
        let (mailroom, peers) = with_a_pass();
        let of_kind = |has_pass| match has_pass {
            true => message_with(&pass(1)),
            false => message(),
        };
        let flood = || {
            for (peer, _) in peers.iter().cycle().zip(0..20) {
                mailroom.handle_onion_message(*peer, &of_kind(flood_has_a_pass));
            }
        };
        flood();
        let before = mailroom.count();
        assert_eq!((before.arrived, before.waiting), (20, 5));
        for _ in 0..3 {
            mailroom.handle_onion_message(peers[0], &of_kind(!flood_has_a_pass));
        }
        flood();
        let count = mailroom.count();
        assert_eq!((count.arrived, count.waiting), (43, 8));
        // Whatever was dropped was of the flood, and counted as that.
        assert_eq!(count.dropped, 35);
        let with_pass = if flood_has_a_pass { (40, 35) } else { (3, 0) };
        assert_eq!((count.with_pass, count.with_pass_dropped), with_pass);
        let wanted = match flood_has_a_pass {
            true => Wanted::WithoutPass,
            false => Wanted::WithPass,
        };
        for _ in 0..3 {
            let mail = mailroom.next(wanted).unwrap();
            assert_eq!(mail.pass.is_some(), !flood_has_a_pass);
        }
        assert_eq!(mailroom.count().waiting, 5);
    }
}

#[test]
fn what_waited_with_a_pass_is_lost_with_its_peer_and_counted() {
    let (mailroom, [relay, _]) = with_a_pass();
    mailroom.handle_onion_message(relay, &message_with(&pass(1)));
    mailroom.handle_onion_message(relay, &message());
    mailroom.peer_disconnected(relay);
    let count = mailroom.count();
    assert_eq!(
        (count.waiting, count.dropped, count.with_pass_dropped),
        (0, 2, 1)
    );
}

#[test]
fn whoever_waits_is_woken_for_what_it_waits_for() {
    let (mailroom, [relay, _]) = with_a_pass();
    let with_pass = (Wanted::WithPass, message_with(&pass(1)));
    let without = (Wanted::WithoutPass, message());
    let (took, taken) = mpsc::channel();
    std::thread::scope(|scope| {
        for wanted in [Wanted::WithPass, Wanted::WithoutPass] {
            let (mailroom, took) = (&mailroom, took.clone());
            scope.spawn(move || {
                while mailroom.next(wanted).is_some() {
                    took.send(wanted).unwrap();
                }
            });
        }
        // One at a time: a wake-up of the wrong thread is not made up for by the next message.
        let in_turn = [&with_pass, &with_pass, &without, &without];
        for (wanted, message) in in_turn.into_iter().cycle().take(200) {
            mailroom.handle_onion_message(relay, message);
            let taken_by = taken.recv_timeout(Duration::from_secs(20));
            if taken_by != Ok(*wanted) {
                mailroom.close();
            }
            assert_eq!(taken_by, Ok(*wanted));
        }
        mailroom.close();
    });
}

/// An answer that can be told from those of the other kind.
fn answer(answers: Answers) -> OnionMessage {
    let mut message = message();
    message.onion_routing_packet.version = answers as u8;
    message
}

/// What leaves for a peer next answers requests of this kind.
fn leaves(mailroom: &Mailroom, to: PublicKey) -> Option<u8> {
    let message = mailroom.next_onion_message_for_peer(to)?;
    Some(message.onion_routing_packet.version)
}

#[test]
fn no_flood_of_answers_of_either_kind_takes_room_from_the_other() {
    let (flooded, spared) = (Answers::WithPass, Answers::WithoutPass);
    for (flooded, spared) in [(flooded, spared), (spared, flooded)] {
        let (mailroom, peers) = with_a_pass();
        let flood = || {
            for (peer, _) in peers.iter().cycle().zip(0..20) {
                let _ = mailroom.post(peer, answer(flooded), flooded);
            }
        };
        flood();
        for _ in 0..3 {
            let posted = mailroom.post(&peers[0], answer(spared), spared);
            assert_eq!(posted, Ok(()));
        }
        flood();
        let left = peers.map(|peer| std::iter::from_fn(|| leaves(&mailroom, peer)).collect());
        let left: [Vec<u8>; 2] = left;
        let of = |kind: Answers| left.iter().flatten().filter(move |one| **one == kind as u8);
        assert_eq!((of(flooded).count(), of(spared).count()), (5, 3));
        assert!(!*mailroom.unsent().borrow());
    }
}

#[test]
fn answers_to_requests_with_a_pass_leave_first_but_for_an_eighth() {
    let mailroom = Mailroom::new(MailroomLimits {
        outbox_per_peer: 20,
        outbox_with_pass: 20,
        outbox_without_pass: 20,
        ..LIMITS
    });
    let relay = peer();
    connect(&mailroom, relay, true).unwrap();
    let (first, other) = (Answers::WithPass, Answers::WithoutPass);
    for answers in [other, first] {
        for _ in 0..20 {
            mailroom.post(&relay, answer(answers), answers).unwrap();
        }
    }
    let left: Vec<u8> = std::iter::from_fn(|| leaves(&mailroom, relay)).collect();
    let eight = [[first as u8; 7].as_slice(), &[other as u8]].concat();
    assert_eq!(left[..16], eight.repeat(2));
    // The rest of the first, in what is still their turn, and then the others.
    let rest = [[first as u8; 6].as_slice(), &[other as u8; 18]].concat();
    assert_eq!(left[16..], rest);
    // Where nothing of the other kind waits, nothing waits for its turn.
    for _ in 0..20 {
        mailroom.post(&relay, answer(first), first).unwrap();
    }
    assert_eq!(std::iter::from_fn(|| leaves(&mailroom, relay)).count(), 20);
}
