//! Peers that connected to us: so many of them, and no place for ever to whoever says nothing.
//!
//! Anybody can finish a handshake, under any name. When all places are taken, a newcomer gets that of the peer which has
//! never sent a message and has been here longest; if all have, that of the one which has been silent
//! longest, if that is a minute or more. Who keeps on talking keeps its place. A relay that is told to go comes
//! back, and is the newcomer then.

use std::time::Duration;

use bitcoin::secp256k1::PublicKey;

/// For how long one that has spoken before may be silent, and keep its place from a newcomer.
pub(super) const SILENCE: Duration = Duration::from_secs(60);

/// Peers that may be on their way out at once. They hold their places a little longer.
const LEAVING: usize = 16;

/// Peers that connected to us, in the order in which they came.
#[derive(Default)]
pub(super) struct Inbound(Vec<Peer>);

struct Peer {
    id: PublicKey,
    /// When it sent its last message.
    spoke: Option<Duration>,
    leaving: bool,
}

impl Inbound {
    /// Takes a newcomer among at most so many, and says who has to go for it. `Err` when nobody has.
    pub(super) fn admit(
        &mut self,
        id: PublicKey,
        places: usize,
        now: Duration,
    ) -> Result<Option<PublicKey>, ()> {
        let leaving = self.0.iter().filter(|peer| peer.leaving).count();
        let gone = match self.0.len() - leaving < places {
            true => None,
            false if leaving >= LEAVING => return Err(()),
            false => {
                let silent = self.0.iter_mut().filter(|peer| peer.may_go(now));
                // Of equals the first one.
                let gone = silent.min_by_key(|peer| peer.spoke).ok_or(())?;
                gone.leaving = true;
                Some(gone.id)
            }
        };
        self.0.push(Peer {
            id,
            spoke: None,
            leaving: false,
        });
        Ok(gone)
    }

    /// A message came from this peer.
    pub(super) fn spoke(&mut self, id: PublicKey, now: Duration) {
        if let Some(peer) = self.0.iter_mut().find(|peer| peer.id == id) {
            peer.spoke = Some(now);
        }
    }

    /// The peer has gone.
    pub(super) fn remove(&mut self, id: PublicKey) {
        self.0.retain(|peer| peer.id != id);
    }
}

impl Peer {
    fn may_go(&self, now: Duration) -> bool {
        let silent = |spoke| now.saturating_sub(spoke) >= SILENCE;
        !self.leaving && self.spoke.is_none_or(silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keys;

    fn peers<const N: usize>() -> [PublicKey; N] {
        std::array::from_fn(|_| Keys::random().node_id())
    }

    const START: Duration = Duration::from_secs(1_000);

    #[test]
    fn whoever_has_never_spoken_makes_room_and_the_first_of_them_first() {
        let [a, b, c, d, e, f] = peers();
        let mut inbound = Inbound::default();
        for peer in [a, b, c] {
            assert_eq!(inbound.admit(peer, 3, START), Ok(None));
        }
        inbound.spoke(a, START);
        assert_eq!(inbound.admit(d, 3, START), Ok(Some(b)));
        // It is asked to go once, gone or not.
        assert_eq!(inbound.admit(e, 3, START), Ok(Some(c)));
        inbound.remove(b);
        inbound.remove(c);
        for peer in [d, e] {
            inbound.spoke(peer, START);
        }
        assert_eq!(inbound.admit(f, 3, START), Err(()));
    }

    #[test]
    fn whoever_has_spoken_keeps_its_place_for_a_minute_of_silence() {
        let [a, b, c, d] = peers();
        let mut inbound = Inbound::default();
        for (peer, spoke) in [(a, 1), (b, 0)] {
            inbound.admit(peer, 2, START).unwrap();
            inbound.spoke(peer, START + Duration::from_secs(spoke));
        }
        let soon = START + SILENCE - Duration::from_secs(1);
        assert_eq!(inbound.admit(c, 2, soon), Err(()));
        assert_eq!(inbound.admit(c, 2, START + SILENCE), Ok(Some(b)));
        inbound.spoke(c, START + SILENCE);
        assert_eq!(inbound.admit(d, 2, START + SILENCE), Err(()));
    }

    #[test]
    fn not_many_are_on_their_way_out_at_once() {
        let mut inbound = Inbound::default();
        for peer in peers::<20>() {
            inbound.admit(peer, 20, START).unwrap();
        }
        let admitted = peers::<20>().map(|peer| inbound.admit(peer, 20, START));
        let admitted = admitted.iter().filter(|admitted| admitted.is_ok());
        assert_eq!(admitted.count(), LEAVING);
    }
}
