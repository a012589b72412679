//! Which relays a request and its answer pass.
//!
//! The first hop sees the client's address; without relays behind it, it also sees the
//! storage node. The way there and the way back share no relay when there are enough, and no
//! two requests in a row take the same route when there is another. Candidates are the
//! relays the caller names; that consecutive ones are connected is the caller's to know.
//!
//! A storage node's introductions are connected to it, but not always to one another, nor to
//! every first hop. A first hop that is an introduction is used as one, both ways, and others
//! are tried only when that has failed; a retry asks for the way of a single introduction.
//!
//! Pure: randomness is an argument.

use rand::Rng;
use rand::seq::SliceRandom;

use larder_protocol::{NodeId, Pass};

/// A storage node, the relays through which it can be reached, and what makes a request known there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The storage node.
    pub node_id: NodeId,
    /// Relays it is connected to, which need not be connected to one another. When empty,
    /// every relay the client names is taken to be one.
    pub introductions: Vec<NodeId>,
    /// Its pass, if the client has one. The relay in front of the storage node sees it, and cannot
    /// tell whose it is: every client that has one has the same.
    pub pass: Option<Pass>,
}

impl Destination {
    /// A storage node that is connected to every relay its clients name, without a pass.
    #[must_use]
    pub fn new(node_id: NodeId) -> Self {
        Destination {
            node_id,
            introductions: Vec::new(),
            pass: None,
        }
    }
}

/// The relays between first hop and storage node, each way in the order of travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) there: Vec<NodeId>,
    pub(crate) back: Vec<NodeId>,
}

/// Where routes come from.
pub(crate) struct Routes {
    relays: Vec<NodeId>,
    per_way: usize,
}

/// Every so many attempts, a first hop that is an introduction leaves that to another one. More
/// often it is a message that was lost than the connection behind the first hop.
const DETOUR: u32 = 3;

/// Draws until a route differs from the last one; with few relays there may be no other.
const DRAWS: usize = 8;

impl Routes {
    /// Routes over `per_way` of `relays` each way, or as many as there are.
    pub(crate) fn new(relays: Vec<NodeId>, per_way: usize) -> Self {
        Routes { relays, per_way }
    }

    /// A route behind `first_hop` for attempt number `attempt` (from 0) of a request, other
    /// than `last` when there is another.
    pub(crate) fn draw(
        &self,
        first_hop: NodeId,
        to: &Destination,
        attempt: u32,
        last: Option<&Route>,
        rng: &mut impl Rng,
    ) -> Route {
        let mut route = self.draw_any(first_hop, to, attempt, rng);
        for _ in 1..DRAWS {
            if Some(&route) != last {
                break;
            }
            route = self.draw_any(first_hop, to, attempt, rng);
        }
        route
    }

    fn draw_any(
        &self,
        first_hop: NodeId,
        to: &Destination,
        attempt: u32,
        rng: &mut impl Rng,
    ) -> Route {
        if first_hop == to.node_id {
            return Route {
                there: Vec::new(),
                back: Vec::new(),
            };
        }
        let ends = |relay: &NodeId| *relay == first_hop || *relay == to.node_id;
        let mut pool: Vec<NodeId> = self.relays.clone();
        pool.retain(|relay| !ends(relay) && !to.introductions.contains(relay));
        pool.shuffle(rng);
        let there: Vec<NodeId> = pool.iter().take(self.per_way).copied().collect();
        // What the way there uses comes last for the way back.
        pool.rotate_left(there.len());
        let back: Vec<NodeId> = pool.iter().take(self.per_way).copied().collect();

        let introductions = introductions(first_hop, to, attempt, rng);
        Route {
            there: joined(first_hop, there, introductions.first()),
            // The way back is the mirror image of a way there.
            back: joined(first_hop, back, introductions.last())
                .into_iter()
                .rev()
                .collect(),
        }
    }
}

/// Where a request enters and, last, where its answer leaves.
fn introductions(
    first_hop: NodeId,
    to: &Destination,
    attempt: u32,
    rng: &mut impl Rng,
) -> Vec<NodeId> {
    let mut others = to.introductions.clone();
    others.retain(|node| *node != first_hop);
    let introduces = others.len() < to.introductions.len();
    let detour = attempt % DETOUR == DETOUR - 1;
    if introduces && (!detour || others.is_empty()) {
        return vec![first_hop];
    }
    others.shuffle(rng);
    if attempt > 0 {
        others.truncate(1);
    }
    others
}

/// The way from `first_hop` over `relays` to the introduction, without visiting one node
/// twice in a row.
fn joined(
    first_hop: NodeId,
    mut relays: Vec<NodeId>,
    introduction: Option<&NodeId>,
) -> Vec<NodeId> {
    let last = *relays.last().unwrap_or(&first_hop);
    relays.extend(introduction.filter(|node| **node != last));
    relays
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn node(n: u8) -> NodeId {
        let secret = SecretKey::from_slice(&[n; 32]).unwrap();
        NodeId::from(PublicKey::from_secret_key(&Secp256k1::new(), &secret))
    }

    fn draws(routes: &Routes, to: &Destination) -> Vec<Route> {
        let mut rng = StdRng::seed_from_u64(1);
        let mut all: Vec<Route> = Vec::new();
        for _ in 0..100 {
            all.push(routes.draw(node(1), to, 0, all.last(), &mut rng));
        }
        all
    }

    #[test]
    fn there_and_back_share_no_relay() {
        let routes = Routes::new((3..=6).map(node).collect(), 2);
        for route in draws(&routes, &Destination::new(node(2))) {
            assert_eq!((route.there.len(), route.back.len()), (2, 2));
            assert!(route.there.iter().all(|relay| !route.back.contains(relay)));
        }
    }

    #[test]
    fn no_route_is_taken_twice_in_a_row() {
        let routes = Routes::new((3..=6).map(node).collect(), 1);
        let all = draws(&routes, &Destination::new(node(2)));
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn a_single_relay_serves_both_ways() {
        let routes = Routes::new(vec![node(3)], 3);
        let route = draws(&routes, &Destination::new(node(2))).remove(0);
        assert_eq!(route.there, [node(3)]);
        assert_eq!(route.back, [node(3)]);
    }

    #[test]
    fn the_ends_of_a_route_are_never_relays_on_it() {
        let routes = Routes::new(vec![node(1), node(2), node(3)], 3);
        for route in draws(&routes, &Destination::new(node(2))) {
            assert_eq!(route.there, [node(3)]);
        }
    }

    #[test]
    fn an_introduction_is_at_first_the_last_hop_there_and_another_the_first_hop_back() {
        let routes = Routes::new(vec![node(3), node(4)], 1);
        let to = Destination {
            introductions: vec![node(7), node(8)],
            ..Destination::new(node(2))
        };
        for route in draws(&routes, &to) {
            assert!(to.introductions.contains(&route.there[1]));
            assert!(to.introductions.contains(&route.back[0]));
            assert_ne!(route.there[1], route.back[0]);
            assert_ne!(route.there[0], route.back[1]);
        }
    }

    /// The routes of the attempts of one request, from a first hop that is node 1.
    fn attempts(to: &Destination) -> Vec<Route> {
        let routes = Routes::new(Vec::new(), 1);
        let mut rng = StdRng::seed_from_u64(1);
        (0..60)
            .map(|attempt| routes.draw(node(1), to, attempt, None, &mut rng))
            .collect()
    }

    #[test]
    fn a_first_hop_that_introduces_is_tried_twice_before_another_does() {
        let to = Destination {
            introductions: vec![node(7), node(1), node(8)],
            ..Destination::new(node(2))
        };
        let over = |relays: &[NodeId]| Route {
            there: relays.to_vec(),
            back: relays.to_vec(),
        };
        let (straight, seven, eight) = (over(&[]), over(&[node(7)]), over(&[node(8)]));
        let all = attempts(&to);
        for three in all.chunks(3) {
            assert_eq!(three[..2], [straight.clone(), straight.clone()]);
            assert!(three[2] == seven || three[2] == eight);
        }
        assert!(all.contains(&seven) && all.contains(&eight));
    }

    #[test]
    fn a_retry_needs_a_single_introduction() {
        let to = Destination {
            introductions: vec![node(7), node(8)],
            ..Destination::new(node(2))
        };
        let all = attempts(&to);
        assert_ne!(all[0].there, all[0].back);
        assert!(all[1..].iter().all(|route| route.there == route.back));
        let over = |relay: u8| all[1..].iter().any(|route| route.there == [node(relay)]);
        assert!(over(7) && over(8));
    }

    #[test]
    fn a_single_lsp_that_introduces_is_passed_once_or_looped_through() {
        let to = Destination {
            introductions: vec![node(1)],
            ..Destination::new(node(2))
        };
        let straight = draws(&Routes::new(Vec::new(), 1), &to).remove(0);
        assert_eq!(straight.there, []);
        assert_eq!(straight.back, []);
        let looped = draws(&Routes::new(vec![node(3)], 1), &to).remove(0);
        assert_eq!(looped.there, [node(3), node(1)]);
        assert_eq!(looped.back, [node(1), node(3)]);
    }

    #[test]
    fn a_first_hop_that_is_the_storage_node_needs_no_relay() {
        let routes = Routes::new(vec![node(3)], 1);
        let route = draws(&routes, &Destination::new(node(1))).remove(0);
        assert_eq!((route.there.len(), route.back.len()), (0, 0));
    }
}
