//! A provider joins while other devices write: it has everything before it counts.

use std::collections::HashSet;
use std::sync::Arc;

use larder_recovery::Slot;
use larder_recovery::log::map::Map;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::quorum_faults::{device, large, one, put, registers};
use crate::shelf::Shelf;

#[tokio::test]
async fn what_another_device_commits_while_a_provider_joins_reaches_it() {
    let shelves: Vec<Shelf> = (1..=2).map(Shelf::of).collect();
    let old = device(&shelves, 1).await;
    put(&old.map, "a", large()).await;
    let (joining, _) = one(&Shelf::of(3), 1).await;
    let wider = old.quorum.joined_by(registers(&joining));
    let wider = Arc::new(wider.expect("majorities overlap"));
    let map = Map::open(wider.clone(), &mut StdRng::seed_from_u64(2), None).await;
    let map = map.expect("all answer");
    let ahead = map.log().ahead();
    let mut copied: HashSet<Slot> = map.slots().collect();
    let healed = wider.heal(copied.iter().copied()).await;
    assert!(healed.expect("all answer").copied[2] > 0);

    // It goes on with the old list, in the registers that were empty a moment ago.
    put(&old.map, "b", large()).await;
    let other = device(&shelves, 3).await;
    put(&other.map, "c", "3").await;

    map.take_over().await.expect("all answer");
    ahead.iter().for_each(|slot| _ = copied.remove(slot));
    let rest = map.slots();
    let rest = wider.heal(rest.filter(|slot| !copied.contains(slot))).await;
    let rest = rest.expect("all answer");
    assert!(rest.copied[2] > 0 && rest.left == 0, "{rest:?}");
    let again = wider.heal(map.slots()).await.expect("all answer");
    assert_eq!((again.copied, again.left), (vec![0; 3], 0));
}
