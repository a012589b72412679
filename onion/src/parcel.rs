//! What an onion carries: opaque bytes under one of two TLV types, and how many fit.
//!
//! The types are odd and far above the range of BOLT 4, so that other implementations
//! skip them. Envelope and padding inside the bytes are `protocol`'s matter.
//!
//! An onion packet comes in two sizes on the wire, and LDK takes the small one whenever
//! everything fits:
//!
//! | class | hop data | packet |
//! | --- | --- | --- |
//! | small | 1,300 bytes | 1,366 bytes |
//! | big | 32,768 bytes | 32,834 bytes |
//!
//! So contents of 1,301 bytes or more always travel in the big class.

use std::fmt;

use lightning::io;
use lightning::ln::msgs::{DecodeError, OnionMessage};
use lightning::onion_message::messenger::{
    CustomOnionMessageHandler, MessageSendInstructions, Responder, ResponseInstruction,
};
use lightning::onion_message::packet::OnionMessageContents;
use lightning::util::ser::{Writeable, Writer};

use larder_protocol::{REPLY_TLV, REQUEST_TLV};

/// Bytes of hop data in a small onion packet (BOLT 4).
pub const SMALL_HOP_DATA: usize = 1_300;
/// Bytes of hop data in a big onion packet (BOLT 4).
pub const BIG_HOP_DATA: usize = 32_768;

/// Bytes that each node of the way there takes: its payload's length, the id of the next
/// node sealed, an HMAC.
const PER_HOP: usize = 86;
/// Bytes that each node of a blinded path takes, in a request that offers it and in the reply
/// that follows it: LDK pads its sealed part to 100 bytes, whatever is in there.
const PER_BLINDED_HOP: usize = 151;

/// Bytes of contents that fit into one big request.
///
/// `hops` counts the nodes of the way there, the storage node included. `reply_hops`, at least
/// 2, counts those of the way back, which begins at the storage node and ends at the client.
/// Over one relay they are 2 and 3.
#[must_use]
pub fn request_room(hops: usize, reply_hops: usize) -> usize {
    // What is in there once, whatever the route: the types and lengths of reply path and
    // contents, the path's own head, less what the last payload lacks of a relay's.
    (BIG_HOP_DATA - 46)
        .saturating_sub(hops * PER_HOP)
        .saturating_sub(reply_hops * PER_BLINDED_HOP)
}

/// The same with a pass: LDK pads what it seals for the storage node to 100 bytes, and the last
/// relay there is told the path key.
pub(crate) fn request_room_with_pass(hops: usize, reply_hops: usize) -> usize {
    let told = match hops {
        0..=1 => 0,
        _ => 35,
    };
    request_room(hops, reply_hops).saturating_sub(100 + told)
}

/// Bytes of contents that fit into one big reply over `hops` nodes behind the storage node,
/// the client included.
#[must_use]
pub fn reply_room(hops: usize) -> usize {
    blinded_room(BIG_HOP_DATA, hops)
}

/// The same for a small one.
pub(crate) fn small_reply_room(hops: usize) -> usize {
    blinded_room(SMALL_HOP_DATA, hops)
}

fn blinded_room(hop_data: usize, hops: usize) -> usize {
    // 10 bytes: the type and length of the contents, the length of the payload.
    (hop_data - 10).saturating_sub(hops * PER_BLINDED_HOP)
}

/// The size class of a message, which shows before anybody has peeled it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Size {
    Small,
    Big,
}

impl Size {
    pub(crate) const BOTH: [Size; 2] = [Size::Small, Size::Big];

    pub(crate) fn of(message: &OnionMessage) -> Self {
        match message.onion_routing_packet.hop_data.len() > SMALL_HOP_DATA {
            true => Size::Big,
            false => Size::Small,
        }
    }
}

/// Contents and their TLV type.
///
/// `Debug` prints nothing: LDK logs the contents of every message at its lowest level.
pub(crate) struct Parcel {
    pub(crate) tlv_type: u64,
    pub(crate) bytes: Vec<u8>,
}

impl fmt::Debug for Parcel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parcel(..)")
    }
}

impl Writeable for Parcel {
    fn write<W: Writer>(&self, writer: &mut W) -> Result<(), io::Error> {
        writer.write_all(&self.bytes)
    }
}

impl OnionMessageContents for Parcel {
    fn tlv_type(&self) -> u64 {
        self.tlv_type
    }

    fn msg_type(&self) -> &'static str {
        "Parcel"
    }
}

/// Tells LDK's decoder how to read a [`Parcel`].
pub(crate) struct ParcelReader;

impl CustomOnionMessageHandler for ParcelReader {
    type CustomMessage = Parcel;

    fn read_custom_message<R: io::Read>(
        &self,
        tlv_type: u64,
        reader: &mut R,
    ) -> Result<Option<Parcel>, DecodeError> {
        if tlv_type != REQUEST_TLV && tlv_type != REPLY_TLV {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        // A packet may be up to 65,535 bytes when it comes from another implementation.
        reader.read_to_limit(&mut bytes, BIG_HOP_DATA as u64 + 1)?;
        if bytes.len() > BIG_HOP_DATA {
            return Err(DecodeError::InvalidValue);
        }
        Ok(Some(Parcel { tlv_type, bytes }))
    }

    // Only `OnionMessenger` calls these; an endpoint has none.
    fn handle_custom_message(
        &self,
        _: Parcel,
        _: Option<Vec<u8>>,
        _: Option<Responder>,
    ) -> Option<(Parcel, ResponseInstruction)> {
        None
    }

    fn release_pending_custom_messages(&self) -> Vec<(Parcel, MessageSendInstructions)> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::secp256k1::PublicKey;
    use larder_protocol::Pass;
    use lightning::ln::msgs::OnionMessage;
    use lightning::onion_message::messenger::Destination;

    use super::*;
    use crate::keys::{Keys, Unbuilt};

    fn nodes(count: usize) -> Vec<PublicKey> {
        (0..count).map(|_| Keys::random().node_id()).collect()
    }

    /// A request over `hops` nodes, with a reply path of `reply_hops` unless that is none.
    fn build(hops: usize, reply_hops: usize, contents: usize) -> Result<OnionMessage, Unbuilt> {
        build_to(Destination::Node, hops, reply_hops, contents)
    }

    /// The same with a pass.
    fn build_with_pass(
        hops: usize,
        reply_hops: usize,
        contents: usize,
    ) -> Result<OnionMessage, Unbuilt> {
        let pass = Pass::from_bytes([7; 32]);
        let path = |node| Keys::random().path_with(&pass, node).unwrap();
        build_to(
            |node| Destination::BlindedPath(path(node)),
            hops,
            reply_hops,
            contents,
        )
    }

    fn build_to(
        destination: impl FnOnce(PublicKey) -> Destination,
        hops: usize,
        reply_hops: usize,
        contents: usize,
    ) -> Result<OnionMessage, Unbuilt> {
        let client = Keys::random();
        let mut there = nodes(hops);
        let last = there.pop().unwrap();
        let reply_path =
            (reply_hops > 0).then(|| client.path_to_us(&nodes(reply_hops - 1), &[0; 32]));
        let parcel = Parcel {
            tlv_type: REQUEST_TLV,
            bytes: vec![0; contents],
        };
        client
            .build(there, destination(last), parcel, reply_path)
            .map(|(_, message)| message)
    }

    /// A reply over `hops` blinded nodes.
    fn build_reply(hops: usize, contents: usize) -> Result<OnionMessage, Unbuilt> {
        let client = Keys::random();
        let path = client.path_to_us(&nodes(hops - 1), &[0; 32]);
        let parcel = Parcel {
            tlv_type: REPLY_TLV,
            bytes: vec![0; contents],
        };
        Keys::random()
            .build(Vec::new(), Destination::BlindedPath(path), parcel, None)
            .map(|(_, message)| message)
    }

    fn is_big(message: &OnionMessage) -> bool {
        message.onion_routing_packet.hop_data.len() == BIG_HOP_DATA
    }

    #[test]
    fn a_request_has_exactly_the_room_we_say() {
        for hops in 1..=5 {
            for reply_hops in 2..=7 {
                let room = request_room(hops, reply_hops);
                let fits = build(hops, reply_hops, room);
                assert!(fits.is_ok_and(|message| is_big(&message)));
                let too_much = build(hops, reply_hops, room + 1);
                assert_eq!(too_much.err(), Some(Unbuilt::DoesNotFit));
            }
        }
    }

    #[test]
    fn a_request_with_a_pass_has_exactly_the_room_we_say() {
        for hops in 1..=5 {
            for reply_hops in 2..=7 {
                let room = request_room_with_pass(hops, reply_hops);
                let fits = build_with_pass(hops, reply_hops, room);
                assert!(fits.is_ok_and(|message| is_big(&message)));
                let too_much = build_with_pass(hops, reply_hops, room + 1);
                assert_eq!(too_much.err(), Some(Unbuilt::DoesNotFit));
            }
        }
    }

    #[test]
    fn a_reply_has_exactly_the_room_we_say() {
        for hops in 1..=6 {
            let room = reply_room(hops);
            assert!(build_reply(hops, room).is_ok_and(|message| is_big(&message)));
            let too_much = build_reply(hops, room + 1);
            assert_eq!(too_much.err(), Some(Unbuilt::DoesNotFit));

            let room = small_reply_room(hops);
            assert!(build_reply(hops, room).is_ok_and(|message| !is_big(&message)));
            assert!(build_reply(hops, room + 1).is_ok_and(|message| is_big(&message)));
        }
    }

    #[test]
    fn the_table_of_the_design_holds() {
        let column = |reply_hops| [1, 3, 5].map(|hops| request_room(hops, reply_hops));
        assert_eq!(column(2), [32_334, 32_162, 31_990]);
        assert_eq!(column(3), [32_183, 32_011, 31_839]);
        assert_eq!(column(4), [32_032, 31_860, 31_688]);
        assert_eq!([reply_room(1), reply_room(5)], [32_607, 32_003]);
    }

    #[test]
    fn contents_beyond_small_hop_data_are_always_big() {
        let bare = build(1, 0, SMALL_HOP_DATA + 1);
        assert!(bare.is_ok_and(|message| is_big(&message)));
        let small = build(1, 0, 1_000);
        assert!(small.is_ok_and(|message| !is_big(&message)));
    }

    #[test]
    fn packets_have_the_sizes_of_bolt_4() {
        let sizes = [1_000, 10_000].map(|contents| {
            let packet = build(1, 0, contents).unwrap().onion_routing_packet;
            packet.serialized_length()
        });
        assert_eq!(sizes, [1_366, 32_834]);
    }
}
