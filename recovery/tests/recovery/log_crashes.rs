//! The power fails at every single request, and a device stops between any two of its steps. What a restore finds is all that was acknowledged, and
//! a prefix of what was attempted. So it is with one provider, and with three of which two acknowledge: whether all of them go
//! out at once, and one never comes back, or one goes out and the others go on.

use std::sync::{Arc, Mutex};

use futures_util::future::{join, join_all};
use larder_recovery::RecoveryError;
use larder_recovery::log::Registers;
use larder_recovery::log::map::{Commit, CommitError, Expect, Map, Write};
use larder_recovery::quorum::{Policy, Quorum};
use larder_recovery::seal::BODY_MAX;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::sea::{Sea, Task, run_for};

/// The providers of a wallet.
#[derive(Clone)]
struct Seas(Vec<Sea>);

impl Seas {
    /// So many, on one line of power.
    fn calm(count: u64) -> Self {
        Seas::of((0..count).map(|_| Sea::calm()))
    }

    fn smooth(count: u64, seed: u64) -> Self {
        Seas::of((0..count).map(|n| Sea::smooth(count * seed + n)))
    }

    fn of(seas: impl Iterator<Item = Sea>) -> Self {
        let seas: Vec<Sea> = seas.collect();
        seas[1..]
            .iter()
            .for_each(|sea| sea.shares_power_with(&seas[0]));
        Seas(seas)
    }

    fn registers(&self) -> Arc<dyn Registers> {
        match &self.0[..] {
            [only] => only.registers(),
            seas => {
                let policy = Policy::majority(seas.len());
                let quorum = Quorum::new(seas.iter().map(Sea::registers), policy);
                Arc::new(quorum.expect("majorities overlap"))
            }
        }
    }

    fn requests(&self) -> u64 {
        self.0.iter().map(Sea::requests).sum()
    }

    /// Those that may be lost with nothing lost by it.
    fn spare(&self) -> Vec<Option<&Sea>> {
        let one = self.0.iter().filter(|_| self.0.len() > 2);
        [None].into_iter().chain(one.map(Some)).collect()
    }
}

/// How many commits were attempted and acknowledged; the n-th one says n.
#[derive(Default)]
struct Told {
    attempted: u64,
    acknowledged: u64,
}

type Witness = Arc<Mutex<Told>>;

async fn open(seas: &Seas, seed: u64) -> Result<Map, RecoveryError> {
    Map::open(seas.registers(), &mut StdRng::seed_from_u64(seed), None).await
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
async fn check(seas: &Seas, told: &Witness, at: &str) {
    let map = open(seas, 99).await.expect("an honest one answers");
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
    let again = open(seas, 100).await.expect("an honest one answers");
    assert_eq!(again.commits(), n + 1, "{at}");
    let monitor = again.get("monitor").await.expect("it is there");
    assert_eq!(monitor.version, n, "{at}");
}

/// A whole life, which ends with the first error.
type Ended = Result<(), RecoveryError>;

/// Runs `life` with the power cut after every number of requests, with the last one done or not. When it is back, one of
/// three providers is not.
async fn cut_everywhere<L: Future<Output = Ended>>(
    name: &str,
    providers: u64,
    life: impl Fn(Seas, Witness) -> L,
) {
    let whole = Seas::calm(providers);
    life(whole.clone(), Witness::default())
        .await
        .expect("without a cut all is well");
    let requests = whole.requests();
    println!("{name}: {requests} requests");
    for cut in 0..requests {
        for last_counts in [false, true] {
            let (seas, told) = (Seas::calm(providers), Witness::default());
            seas.0[0].cut_after(cut, last_counts);
            let cut_short = life(seas.clone(), told.clone()).await;
            // The last of three to hear of something may be left out.
            let unheard = providers > 1 && cut_short.is_ok();
            assert!(unheard || matches!(cut_short, Err(RecoveryError::Unreachable(_))));
            seas.0[0].power_is_back();
            // Each of them in turn.
            let lost = (cut as usize + usize::from(last_counts)) % seas.spare().len();
            if let Some(sea) = seas.spare()[lost] {
                sea.is_down(true);
            }
            let at = format!("{name}, request {cut}, done: {last_counts}, lost: {lost}");
            check(&seas, &told, &at).await;
        }
    }
}

/// Runs `life` with each of three providers cut off after every number of its requests, with the last one done or not.
/// Nobody notices; and a restore finds all of it, whether that one is back or not.
async fn one_is_cut_off_everywhere<L: Future<Output = Ended>>(
    name: &str,
    life: impl Fn(Seas, Witness) -> L,
) {
    for failing in 0..3 {
        let three = || Seas((0..3).map(|_| Sea::calm()).collect());
        let whole = three();
        let done = life(whole.clone(), Witness::default()).await;
        done.expect("without a cut all is well");
        for cut in 0..whole.0[failing].requests() {
            for last_counts in [false, true] {
                let back = (cut % 2 == 0) == last_counts;
                let (seas, told) = (three(), Witness::default());
                seas.0[failing].cut_after(cut, last_counts);
                let done = life(seas.clone(), told.clone()).await;
                let at = format!("{name}, {failing} at {cut}, done: {last_counts}, back: {back}");
                assert_eq!(done, Ok(()), "{at}");
                if back {
                    seas.0[failing].power_is_back();
                }
                check(&seas, &told, &at).await;
            }
        }
    }
}

async fn plain_writes(seas: Seas, told: Witness) -> Ended {
    let map = open(&seas, 1).await?;
    map.take_over().await?;
    write(&map, &told, 1, 50).await?;
    write(&map, &told, 20, 50).await?;
    write(&map, &told, 3, 50).await
}

async fn large_writes(seas: Seas, told: Witness) -> Ended {
    let map = open(&seas, 1).await?;
    map.take_over().await?;
    write(&map, &told, 1, 3 * BODY_MAX).await?;
    write(&map, &told, 1, 5_000).await?;
    write(&map, &told, 1, 2 * BODY_MAX + 1).await
}

async fn roll_ups(seas: Seas, told: Witness) -> Ended {
    let map = open(&seas, 1).await?;
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
}

async fn take_overs(seas: Seas, told: Witness) -> Ended {
    let one = open(&seas, 1).await?;
    one.take_over().await?;
    write(&one, &told, 2, 50).await?;
    let two = open(&seas, 2).await?;
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
    let three = open(&seas, 3).await?;
    three.take_over().await?;
    write(&three, &told, 1, 50).await
}

#[tokio::test]
async fn a_cut_during_plain_writes_leaves_an_acknowledged_prefix() {
    cut_everywhere("plain", 1, plain_writes).await;
}

#[tokio::test]
async fn a_cut_during_large_writes_leaves_an_acknowledged_prefix() {
    cut_everywhere("large", 1, large_writes).await;
}

#[tokio::test]
async fn a_cut_during_roll_ups_leaves_an_acknowledged_prefix() {
    cut_everywhere("roll-up", 1, roll_ups).await;
}

#[tokio::test]
async fn a_cut_during_take_overs_leaves_an_acknowledged_prefix() {
    cut_everywhere("take-over", 1, take_overs).await;
}

#[tokio::test]
async fn a_cut_of_three_providers_one_of_which_is_lost_leaves_an_acknowledged_prefix_of_plain_writes()
 {
    cut_everywhere("plain, three", 3, plain_writes).await;
}

#[tokio::test]
async fn a_cut_of_three_providers_one_of_which_is_lost_leaves_an_acknowledged_prefix_of_large_writes()
 {
    cut_everywhere("large, three", 3, large_writes).await;
}

#[tokio::test]
async fn a_cut_of_three_providers_one_of_which_is_lost_leaves_an_acknowledged_prefix_of_roll_ups() {
    cut_everywhere("roll-up, three", 3, roll_ups).await;
}

#[tokio::test]
async fn a_cut_of_three_providers_one_of_which_is_lost_leaves_an_acknowledged_prefix_of_take_overs()
{
    cut_everywhere("take-over, three", 3, take_overs).await;
}

#[tokio::test]
async fn whenever_one_of_three_providers_is_cut_off_all_goes_on_and_all_is_restored() {
    one_is_cut_off_everywhere("plain", plain_writes).await;
    one_is_cut_off_everywhere("large", large_writes).await;
    one_is_cut_off_everywhere("roll-up", roll_ups).await;
    one_is_cut_off_everywhere("take-over", take_overs).await;
}

/// Runs `life` on a device that stops after every number of steps: of polls of its future, and of
/// messages on their way to it.
async fn stop_everywhere<L: Future<Output = Ended> + 'static>(
    name: &str,
    providers: u64,
    life: impl Fn(Seas, Witness) -> L,
) {
    for steps in 0.. {
        let (seas, told) = (Seas::smooth(providers, steps), Witness::default());
        let life = life(seas.clone(), told.clone());
        let device = Task::new(async move { life.await.expect("nothing is lost") });
        let mut turn = 0;
        let mut tide = || {
            turn += 1;
            let (before, from) = seas.0.split_at(turn % seas.0.len());
            from.iter().chain(before).any(Sea::tide)
        };
        let done = run_for(&mut tide, device, steps);
        // What was under way arrives, or does not.
        while steps % 2 == 0 && tide() {}
        seas.0.iter().for_each(Sea::calms_down);
        check(&seas, &told, &format!("{name}, after {steps} steps")).await;
        if done {
            println!("{name}: {steps} steps");
            return;
        }
    }
}

async fn writes_and_a_roll_up(seas: Seas, told: Witness) -> Ended {
    let map = open(&seas, 1).await?;
    map.take_over().await?;
    write(&map, &told, 2, 50).await?;
    write(&map, &told, 1, 2 * BODY_MAX).await?;
    map.roll_up().await?;
    while map.log().upkeep(4).await? {}
    write(&map, &told, 2, 50).await
}

async fn two_devices(seas: Seas, told: Witness) -> Ended {
    let one = open(&seas, 1).await?;
    one.take_over().await?;
    write(&one, &told, 2, 50).await?;
    let two = open(&seas, 2).await?;
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
}

#[tokio::test]
async fn a_device_that_stops_between_any_two_steps_leaves_an_acknowledged_prefix() {
    stop_everywhere("writes and a roll-up", 1, writes_and_a_roll_up).await;
}

#[tokio::test]
async fn two_devices_that_stop_between_any_two_steps_of_a_take_over_leave_an_acknowledged_prefix() {
    stop_everywhere("take-overs", 1, two_devices).await;
}

#[tokio::test]
async fn with_three_providers_a_device_that_stops_between_any_two_steps_does_so_too() {
    stop_everywhere("writes and a roll-up, three", 3, writes_and_a_roll_up).await;
}

#[tokio::test]
async fn with_three_providers_two_devices_that_stop_between_any_two_steps_of_a_take_over_do_so_too()
{
    stop_everywhere("take-overs, three", 3, two_devices).await;
}
