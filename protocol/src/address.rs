//! `larder1…`: the one string a client needs to find a storage node.
//!
//! Bech32m (BIP 350) with the prefix `larder` over a TLV stream (BOLT 1 rules):
//!
//! | type | bytes | value |
//! | --- | --- | --- |
//! | 2 | 33 | server key |
//! | 4 | 33 | node id |
//! | 6 | 33 n | ids of nodes that the storage node keeps a connection to, best first; absent when there are none |
//!
//! The checksum detects every wrong character; a single one is also located.

use std::fmt;
use std::str::FromStr;

use crate::extension::{put_tlv, read_stream};
use crate::text::{self, InvalidText};
use crate::wire::Reader;
use crate::{DecodeError, NodeId, ServerKey};

const SERVER_KEY: u64 = 2;
const NODE_ID: u64 = 4;
const INTRODUCTIONS: u64 = 6;

/// The human-readable prefix.
pub const PREFIX: &str = "larder";

/// Introduction nodes that fit the longest text that bech32m protects.
const MAX_INTRODUCTIONS: usize = 15;

/// Where a storage node is found, and the key that proves it is the one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    server_key: ServerKey,
    node_id: NodeId,
    introductions: Vec<NodeId>,
}

impl Address {
    /// Puts an address together. Of the introductions, the first 15 are kept.
    #[must_use]
    pub fn new(server_key: ServerKey, node_id: NodeId, mut introductions: Vec<NodeId>) -> Self {
        introductions.truncate(MAX_INTRODUCTIONS);
        Address {
            server_key,
            node_id,
            introductions,
        }
    }

    /// The key that signs the parameter record.
    #[must_use]
    pub fn server_key(&self) -> &ServerKey {
        &self.server_key
    }

    /// The storage node's Lightning node id.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// Nodes that the storage node keeps a connection to, best first.
    #[must_use]
    pub fn introductions(&self) -> &[NodeId] {
        &self.introductions
    }

    fn contents(&self) -> Vec<u8> {
        let mut to = Vec::new();
        put_tlv(&mut to, SERVER_KEY, self.server_key.as_bytes());
        put_tlv(&mut to, NODE_ID, self.node_id.as_bytes());
        if !self.introductions.is_empty() {
            let ids: Vec<u8> = self
                .introductions
                .iter()
                .flat_map(|id| *id.as_bytes())
                .collect();
            put_tlv(&mut to, INTRODUCTIONS, &ids);
        }
        to
    }

    fn from_contents(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (mut server_key, mut node_id, mut introductions) = (None, None, Vec::new());
        read_stream(&mut Reader::new(bytes), |kind, value| {
            match kind {
                SERVER_KEY => server_key = Some(ServerKey::from_slice(value)?),
                NODE_ID => node_id = Some(NodeId::from_slice(value)?),
                INTRODUCTIONS => {
                    if value.is_empty() || value.len() > NodeId::LEN * MAX_INTRODUCTIONS {
                        return Err(DecodeError::Inconsistent("1 to 15 introductions fit"));
                    }
                    introductions = value
                        .chunks(NodeId::LEN)
                        .map(NodeId::from_slice)
                        .collect::<Result<_, _>>()?;
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(Address {
            server_key: server_key.ok_or(DecodeError::Truncated("the server key"))?,
            node_id: node_id.ok_or(DecodeError::Truncated("the node id"))?,
            introductions,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write(f, PREFIX, &self.contents())
    }
}

impl FromStr for Address {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let contents = text::read(text, "an address of a storage node", PREFIX)?;
        Ok(Address::from_contents(&contents)?)
    }
}
