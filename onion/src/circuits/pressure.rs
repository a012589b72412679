//! When a request shows its pass: under pressure and not before
//! (`docs/decisions/0032-a-pass-is-seen-before-the-onion-is-opened.md`).
//!
//! The relay in front of the storage node sees which messages have a pass, so in quiet times none has
//! one. An attempt without one that was given up is a sign of pressure at that storage node. A
//! connection that was lost is none, and neither is an attempt with a pass: its pass may be one
//! that the storage node does not honour, and then showing more of them would not help.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use larder_protocol::NodeId;
use tokio::time::Instant;

use crate::lock;

/// How long first attempts show a pass after the last sign of pressure.
const PRESSED: Duration = Duration::from_secs(10 * 60);

/// Which storage nodes are under pressure, as far as is known here.
#[derive(Default)]
pub(super) struct Pressure {
    felt: Mutex<HashMap<NodeId, Instant>>,
}

impl Pressure {
    /// An attempt without a pass was given up.
    pub(super) fn feel(&self, at: NodeId) {
        lock(&self.felt).insert(at, Instant::now());
    }

    /// Whether a first attempt to this storage node shows its pass.
    pub(super) fn lasts(&self, at: NodeId) -> bool {
        let felt = lock(&self.felt).get(&at).copied();
        felt.is_some_and(|felt| felt.elapsed() < PRESSED)
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::secp256k1::{Secp256k1, SecretKey};
    use tokio::time::advance;

    use super::*;

    fn node(n: u8) -> NodeId {
        let secret = SecretKey::from_slice(&[n; 32]).unwrap();
        NodeId::from(secret.public_key(&Secp256k1::new()))
    }

    #[tokio::test(start_paused = true)]
    async fn pressure_is_over_ten_minutes_after_its_last_sign() {
        let pressure = Pressure::default();
        assert!(!pressure.lasts(node(1)));
        pressure.feel(node(1));
        advance(Duration::from_secs(599)).await;
        assert!(pressure.lasts(node(1)));
        pressure.feel(node(1));
        advance(Duration::from_secs(599)).await;
        assert!(pressure.lasts(node(1)));
        advance(Duration::from_secs(1)).await;
        assert!(!pressure.lasts(node(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn pressure_at_one_storage_node_is_none_at_another() {
        let pressure = Pressure::default();
        pressure.feel(node(1));
        assert!(!pressure.lasts(node(2)));
    }
}
