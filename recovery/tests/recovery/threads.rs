//! A wallet runs its work where it likes. That the futures may move between threads is checked when this is built.

use larder_recovery::log::map::{Commit, Expect, Write};
use larder_recovery::quorum::Policy;
use larder_recovery::reach::{Challenge, KeyProof};

use crate::quorum_faults::{Device, device, large, shelves};
use crate::shelf::root;

#[tokio::test]
async fn whatever_a_wallet_does_with_several_providers_may_move_between_threads() {
    let life = tokio::spawn(async {
        let shelves = shelves();
        let Device {
            map,
            quorum,
            providers,
            ..
        } = device(&shelves, 1).await;
        let put = Commit::of([Write::put("k", Expect::Absent, large())]);
        map.commit(put).await.expect("it is");
        map.roll_up().await.expect("honest");
        map.log().upkeep(9).await.expect("honest");
        map.refresh().await.expect("honest");
        map.confirm().await.expect("nobody else writes");
        assert!(map.get("k").await.is_ok() && map.read("").await.is_ok());
        quorum.catch_up().await.expect("all answer");
        quorum.heal(map.slots()).await.expect("all answer");
        let (policy, challenge) = (Policy::majority(3), Challenge([7; 32]));
        let (quorum, root) = (quorum.as_ref(), &root(1));
        KeyProof::gather(quorum, root, &providers, policy, "k", challenge).await
    });
    let proof = life.await.expect("no panic");
    assert!(proof.expect("all answer").is_some());
}
