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
use lightning::ln::msgs::DecodeError;
use lightning::onion_message::messenger::{
    CustomOnionMessageHandler, MessageSendInstructions, Responder, ResponseInstruction,
};
use lightning::onion_message::packet::OnionMessageContents;
use lightning::util::ser::{Writeable, Writer};

/// TLV type of a request, "LAR1".
pub const REQUEST_TLV: u64 = 0x4c41_5231;
/// TLV type of a reply, "LAR3".
pub const REPLY_TLV: u64 = 0x4c41_5233;

/// Bytes of hop data in a small onion packet (BOLT 4).
pub const SMALL_HOP_DATA: usize = 1_300;
/// Bytes of hop data in a big onion packet (BOLT 4).
pub const BIG_HOP_DATA: usize = 32_768;

/// Bytes of a reply's hop data that each hop of a route takes: its own length, the id of
/// the next hop sealed, and an HMAC.
const PER_HOP: usize = 86;
/// Bytes that each hop of a reply path takes within a request.
const PER_REPLY_HOP: usize = 151;

/// Bytes of contents that fit into one big request.
///
/// `hops` counts the nodes of the way there, the storage node included; `reply_hops` those of the
/// way back, from the storage node, which introduces the path, to the client itself. A
/// route over one relay is 2 and 3.
#[must_use]
pub fn request_room(hops: usize, reply_hops: usize) -> usize {
    (BIG_HOP_DATA + 25)
        .saturating_sub(hops * PER_HOP)
        .saturating_sub(reply_hops * PER_REPLY_HOP + 71)
}

/// Bytes of contents that fit into one big reply; `hops` counts the nodes between the
/// storage node and the client, the client included.
#[must_use]
pub fn reply_room(hops: usize) -> usize {
    (BIG_HOP_DATA - 10).saturating_sub(hops * PER_REPLY_HOP)
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
