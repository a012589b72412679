use lightning::onion_message::messenger::Destination;

use super::*;
use crate::keys::Keys;
use crate::parcel::{BIG_HOP_DATA, Parcel, SMALL_HOP_DATA};
use larder_protocol::REQUEST_TLV;

const LIMITS: MailroomLimits = MailroomLimits {
    inbound_peers: 2,
    inbox_per_peer: 3,
    inbox_total: 5,
    outbox_per_peer: 3,
    outbox_total: 5,
    pace: None,
};

fn peer() -> PublicKey {
    Keys::random().node_id()
}

fn message() -> OnionMessage {
    let parcel = Parcel {
        tlv_type: REQUEST_TLV,
        bytes: Vec::new(),
    };
    let keys = Keys::random();
    let built = keys.build(Vec::new(), Destination::Node(peer()), parcel, None);
    built.unwrap().1
}

fn connect(mailroom: &Mailroom, peer: PublicKey, inbound: bool) -> Result<(), ()> {
    let init = Init {
        features: crate::ldk::features(),
        networks: None,
        remote_network_address: None,
    };
    mailroom.peer_connected(peer, &init, inbound)
}

#[test]
fn strangers_are_counted_and_those_we_connect_to_come_on_top() {
    let mailroom = Mailroom::new(LIMITS);
    let (first, friend) = (peer(), peer());
    assert_eq!(connect(&mailroom, first, true), Ok(()));
    assert_eq!(connect(&mailroom, peer(), true), Ok(()));
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
    let first = [mailroom.next().unwrap(), mailroom.next().unwrap()];
    let sizes = first.map(|message| message.onion_routing_packet.hop_data.len());
    assert_eq!(sizes, [SMALL_HOP_DATA, BIG_HOP_DATA]);
    mailroom.peer_disconnected(relay);
    assert_eq!(mailroom.count().waiting, 0);
}

#[test]
fn a_message_is_posted_to_a_connected_peer_with_room_or_refused() {
    let mailroom = Mailroom::new(LIMITS);
    let relay = peer();
    assert_eq!(mailroom.post(&relay, message()), Err(Refused::Unknown));
    connect(&mailroom, relay, false).unwrap();
    for _ in 0..3 {
        assert_eq!(mailroom.post(&relay, message()), Ok(()));
    }
    assert_eq!(mailroom.post(&relay, message()), Err(Refused::Full));
    mailroom.peer_disconnected(relay);
    assert_eq!(mailroom.post(&relay, message()), Err(Refused::Unknown));
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
        mailroom.post(&relay, message()).unwrap();
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
        mailroom.post(&relay, message()).unwrap();
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
    let mailroom = Mailroom::new(LIMITS);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| mailroom.next().is_none());
        mailroom.close();
        assert!(waits.join().unwrap());
    });
}
