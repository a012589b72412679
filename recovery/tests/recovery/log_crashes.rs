//! The power fails at every single request, and a device stops between any two of its steps. What a restore finds is all that was acknowledged, and
//! a prefix of what was attempted.

use std::sync::{Arc, Mutex};

use futures_util::future::{join, join_all};
use larder_recovery::RecoveryError;
use larder_recovery::log::map::{Commit, CommitError, Expect, Map, Write};
use larder_recovery::seal::BODY_MAX;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::sea::{Sea, Task, run_for};

/// How many commits were attempted and acknowledged; the n-th one says n.
#[derive(Default)]
struct Told {
    attempted: u64,
    acknowledged: u64,
}

type Witness = Arc<Mutex<Told>>;

async fn open(sea: &Sea, seed: u64) -> Result<Map, RecoveryError> {
    Map::open(sea.registers(), &mut StdRng::seed_from_u64(seed), None).await
}

fn value(n: u64, len: usize) -> Vec<u8> {
    let mut value = n.to_be_bytes().to_vec();
    value.resize(len, n as u8);
    value
}

/// The n-th commit: two keys that must never differ, and one of its own.
fn commit(n: u64, len: usize) -> Commit {
    Commit::of([
        Write::put("manager", Expect::Any, value(n, 40)),
        Write::put("monitor", Expect::Any, value(n, len)),
        Write::put(format!("own/{n:03}"), Expect::Version(0), value(n, 8)),
    ])
}

/// Commits, several at once.
async fn write(map: &Map, told: &Witness, count: u64, len: usize) -> Result<(), RecoveryError> {
    let commits = (0..count).map(|_| async {
        let n = {
            let mut told = told.lock().expect("no test panics in here");
            told.attempted += 1;
            told.attempted
        };
        match map.commit(commit(n, len)).await {
            Ok(number) => {
                assert_eq!(number, n, "commits are counted in order");
                let mut told = told.lock().expect("no test panics in here");
                told.acknowledged = told.acknowledged.max(n);
                Ok(())
            }
            Err(CommitError::Failed(error)) => Err(error),
            Err(other) => panic!("{other}"),
        }
    });
    join_all(commits).await.into_iter().collect()
}

/// Restores from nothing but the registers.
async fn check(sea: &Sea, told: &Witness, at: &str) {
    let map = open(sea, 99).await.expect("an honest one answers");
    let n = map.commits();
    {
        let told = told.lock().expect("no test panics in here");
        let possible = told.acknowledged..=told.attempted;
        assert!(possible.contains(&n), "{at}: {n} of {possible:?}");
    }
    if n > 0 {
        let manager = map.get("manager").await.expect("it is there");
        let monitor = map.get("monitor").await.expect("it is there");
        let (manager, monitor) = (manager.value.expect("put"), monitor.value.expect("put"));
        assert_eq!(manager, value(n, 40), "{at}");
        assert_eq!(monitor, value(n, monitor.len()), "{at}: they never differ");
    }
    let own = map.list("own/", None, usize::MAX);
    let all = own.iter().map(|listed| listed.key.clone());
    assert!(all.eq((1..=n).map(|n| format!("own/{n:03}"))), "{at}");
    // And it goes on from there.
    map.take_over().await.expect("an honest one answers");
    let next = map.commit(Commit::of([Write::put("own/next", Expect::Absent, "x")]));
    assert_eq!(next.await, Ok(n + 1), "{at}");
    map.roll_up().await.expect("an honest one answers");
    while map.log().upkeep(50).await.expect("an honest one answers") {}
    let again = open(sea, 100).await.expect("an honest one answers");
    assert_eq!(again.commits(), n + 1, "{at}");
    let monitor = again.get("monitor").await.expect("it is there");
    assert_eq!(monitor.version, n, "{at}");
}

/// Runs `life` with the power cut after every number of requests, with the last one done or not.
async fn cut_everywhere<L>(name: &str, life: impl Fn(Sea, Witness) -> L)
where
    L: Future<Output = Result<(), RecoveryError>>,
{
    let whole = Sea::calm();
    life(whole.clone(), Witness::default())
        .await
        .expect("without a cut all is well");
    let requests = whole.requests();
    println!("{name}: {requests} requests");
    for cut in 0..requests {
        for last_counts in [false, true] {
            let (sea, told) = (Sea::calm(), Witness::default());
            sea.cut_after(cut, last_counts);
            let cut_short = life(sea.clone(), told.clone()).await;
            assert!(matches!(cut_short, Err(RecoveryError::Unreachable(_))));
            sea.power_is_back();
            let at = format!("{name}, request {cut}, done: {last_counts}");
            check(&sea, &told, &at).await;
        }
    }
}

#[tokio::test]
async fn a_cut_during_plain_writes_leaves_an_acknowledged_prefix() {
    cut_everywhere("plain", |sea, told| async move {
        let map = open(&sea, 1).await?;
        map.take_over().await?;
        write(&map, &told, 1, 50).await?;
        write(&map, &told, 20, 50).await?;
        write(&map, &told, 3, 50).await
    })
    .await;
}

#[tokio::test]
async fn a_cut_during_large_writes_leaves_an_acknowledged_prefix() {
    cut_everywhere("large", |sea, told| async move {
        let map = open(&sea, 1).await?;
        map.take_over().await?;
        write(&map, &told, 1, 3 * BODY_MAX).await?;
        write(&map, &told, 1, 5_000).await?;
        write(&map, &told, 1, 2 * BODY_MAX + 1).await
    })
    .await;
}

#[tokio::test]
async fn a_cut_during_roll_ups_leaves_an_acknowledged_prefix() {
    cut_everywhere("roll-up", |sea, told| async move {
        let map = open(&sea, 1).await?;
        map.take_over().await?;
        write(&map, &told, 3, 5_000).await?;
        map.roll_up().await?;
        while map.log().upkeep(3).await? {
            write(&map, &told, 1, 5_000).await?;
        }
        map.roll_up().await?;
        write(&map, &told, 1, 50).await?;
        while map.log().upkeep(7).await? {}
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_cut_during_take_overs_leaves_an_acknowledged_prefix() {
    cut_everywhere("take-over", |sea, told| async move {
        let one = open(&sea, 1).await?;
        one.take_over().await?;
        write(&one, &told, 2, 50).await?;
        let two = open(&sea, 2).await?;
        two.take_over().await?;
        write(&two, &told, 2, 5_000).await?;
        assert!(matches!(
            one.confirm().await,
            Err(RecoveryError::Fenced(_)) | Err(RecoveryError::Unreachable(_))
        ));
        one.take_over().await?;
        write(&one, &told, 2, 50).await?;
        one.roll_up().await?;
        two.take_over().await.or_else(|error| match error {
            RecoveryError::Fenced(_) => Ok(()),
            error => Err(error),
        })?;
        let three = open(&sea, 3).await?;
        three.take_over().await?;
        write(&three, &told, 1, 50).await
    })
    .await;
}

/// Runs `life` on a device that stops after every number of steps: of polls of its future, and of
/// messages on their way to it.
async fn stop_everywhere<L>(name: &str, life: impl Fn(Sea, Witness) -> L)
where
    L: Future<Output = Result<(), RecoveryError>> + 'static,
{
    for steps in 0.. {
        let (sea, told) = (Sea::smooth(steps), Witness::default());
        let life = life(sea.clone(), told.clone());
        let device = Task::new(async move { life.await.expect("nothing is lost") });
        let done = run_for(&sea, device, steps);
        // What was under way arrives, or does not.
        while steps % 2 == 0 && sea.tide() {}
        sea.calms_down();
        check(&sea, &told, &format!("{name}, after {steps} steps")).await;
        if done {
            println!("{name}: {steps} steps");
            return;
        }
    }
}

#[tokio::test]
async fn a_device_that_stops_between_any_two_steps_leaves_an_acknowledged_prefix() {
    stop_everywhere("writes and a roll-up", |sea, told| async move {
        let map = open(&sea, 1).await?;
        map.take_over().await?;
        write(&map, &told, 2, 50).await?;
        write(&map, &told, 1, 2 * BODY_MAX).await?;
        map.roll_up().await?;
        while map.log().upkeep(4).await? {}
        write(&map, &told, 2, 50).await
    })
    .await;
}

#[tokio::test]
async fn two_devices_that_stop_between_any_two_steps_of_a_take_over_leave_an_acknowledged_prefix() {
    stop_everywhere("take-overs", |sea, told| async move {
        let one = open(&sea, 1).await?;
        one.take_over().await?;
        write(&one, &told, 2, 50).await?;
        let two = open(&sea, 2).await?;
        two.take_over().await?;
        // Whatever the older one has under way is behind the seal.
        let late = one.commit(commit(99, BODY_MAX));
        let (late, written) = join(late, write(&two, &told, 1, 5_000)).await;
        assert!(matches!(
            late,
            Err(CommitError::Failed(RecoveryError::Fenced(_)))
        ));
        written?;
        one.take_over().await?;
        write(&one, &told, 1, 50).await?;
        one.roll_up().await?;
        // It learns of it when it asks.
        assert!(matches!(two.confirm().await, Err(RecoveryError::Fenced(_))));
        two.take_over().await?;
        write(&two, &told, 1, 50).await
    })
    .await;
}
