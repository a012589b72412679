//! Random lives, a thousand in CI, of wallets and their storage node, each from a seed, and after each of
//! them the books are right to the token.
//!
//! One or two wallets, with the purse that a real one has, work with the node's desk over the
//! real store. Between them requests and replies are lost, come twice and late; the node is killed
//! before and after any step on its store and opens it again; the wallets are killed at, in
//! and after any write of their journals; epochs begin in the middle of requests, and now and
//! then so many of them that a wallet loses what it had, and knows how much.
//!
//! After every life everything is settled, and
//!
//! * every operation was charged exactly once, and every insert and delete had exactly one effect. Only
//!   what a process had answered before it was killed may be answered once more for nothing:
//!   nobody can tell that its caller had heard it;
//! * each wallet holds to the token what a plain book says, and all of them with what was lost what
//!   the node counts as outstanding;
//! * the canary is quiet, and every key is as the book says.
//!
//! There is no clock, no thread and no network, so a seed that fails does so again:
//! `LARDER_SEED=n` runs that one alone.

mod plain;
mod wallet;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::runtime::Builder;

use self::plain::EARLIER;
use self::wallet::{Wallet, Wish};
pub(crate) use self::world::folder;
use self::world::{Counts, World};
use crate::samples::samples;

/// See [`samples`].
const HISTORIES: [u64; 2] = [300, 1_000];

/// Histories that one store sees, one after the other, with wallets of their own.
const OF_ONE_STORE: u64 = 25;

/// Threads, each with stores of its own.
const THREADS: u64 = 4;

/// Keys of each wallet.
const KEYS: u64 = 3;

async fn history(world: &Arc<World>, seed: u64) {
    world.begin(seed);
    let mut rng = StdRng::seed_from_u64(seed);
    let wallets = 1 + usize::from(rng.random_bool(0.3));
    let mut wallets: Vec<_> = (0..wallets)
        .map(|number| Wallet::new(world, number, seed))
        .collect();
    let rough = [0, 10, 30, 60][rng.random_range(0..4)];
    world.weather(rough);
    world.allow_epochs(EARLIER);
    for _ in 0..rng.random_range(1..4) {
        let lives = wallets.iter_mut().map(|wallet| {
            let dies = rng.random_bool(0.3);
            let buys = wallet.is_new() || rng.random_bool(0.1);
            let claims = if buys { rng.random_range(1..3) } else { 0 };
            let wishes: Vec<_> = (0..rng.random_range(1..3))
                .map(|_| wish(&mut rng))
                .collect();
            async move {
                if dies {
                    wallet.will_die();
                }
                if claims > 0 {
                    wallet.buy(claims).await;
                }
                wallet.fulfil(&distinct(wishes)).await;
            }
        });
        futures_util::future::join_all(lives.collect::<Vec<_>>()).await;
        if rng.random_bool(0.1) {
            wallets[0].dies();
        }
        if world.epochs_left() == 0 {
            calm(world, &mut wallets).await;
        }
    }
    if rng.random_bool(0.03) {
        stay_away(world, &mut wallets).await;
    }
    // So that each credential is shown once more.
    calm(world, &mut wallets).await;
    world.next_epoch();
    calm(world, &mut wallets).await;
    check(world, &wallets);
}

fn wish(rng: &mut StdRng) -> Wish {
    let key = rng.random_range(0..KEYS);
    match rng.random_range(0..10) {
        0..5 => Wish::Insert(key),
        5..7 => Wish::Lookup(key),
        _ => Wish::Delete(key),
    }
}

/// Without a second wish for one key: which of two at once comes first is not ours to say.
fn distinct(mut wishes: Vec<Wish>) -> Vec<Wish> {
    let key = |wish: &Wish| match wish {
        Wish::Insert(key) | Wish::Lookup(key) | Wish::Delete(key) => *key,
    };
    wishes.sort_by_key(key);
    wishes.dedup_by_key(|wish| key(wish));
    wishes
}

/// Lets the weather calm down and settles everything; then the epochs may go on.
async fn calm(world: &Arc<World>, wallets: &mut [Wallet]) {
    let rough = world.weather(0);
    for wallet in wallets {
        wallet.settle().await;
    }
    world.weather(rough);
    world.allow_epochs(EARLIER);
}

/// The first wallet stays away until its epoch is closed; the other is kept up.
async fn stay_away(world: &Arc<World>, wallets: &mut [Wallet]) {
    calm(world, wallets).await;
    check(world, wallets);
    let rough = world.weather(0);
    for _ in 0..=EARLIER {
        world.next_epoch();
        for wallet in &mut wallets[1..] {
            wallet.settle().await;
        }
    }
    world.book(|book| book.expire(0));
    world.count(|counts| counts.closed_purses += 1);
    wallets[0].settle().await;
    check(world, wallets);
    wallets[0].buy(1).await;
    world.weather(rough);
}

fn check(world: &World, wallets: &[Wallet]) {
    world.check();
    let mut lost = 0;
    for (number, wallet) in wallets.iter().enumerate() {
        let (tokens, expired) = wallet.tokens();
        assert_eq!(
            tokens,
            world.book(|book| book.tokens_of(number)),
            "wallet {number}"
        );
        lost += expired;
    }
    assert_eq!(lost, world.book(|book| book.lost), "lost");
}

/// Runs these histories, and says how often things happened.
fn run(seeds: impl IntoIterator<Item = u64>) -> Counts {
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let mut world = Arc::new(World::new());
    let (mut counts, mut seen) = (Counts::default(), 0);
    for seed in seeds {
        if seen == OF_ONE_STORE {
            counts = counts + world.count(|counts| *counts);
            (world, seen) = (Arc::new(World::new()), 0);
        }
        seen += 1;
        let life = || runtime.block_on(history(&world, seed));
        if let Err(why) = catch_unwind(AssertUnwindSafe(life)) {
            eprintln!("it was history {seed}, number {seen} on its store");
            std::panic::resume_unwind(why);
        }
    }
    counts + world.count(|counts| *counts)
}

#[test]
fn in_every_history_every_operation_costs_once_and_no_token_is_lost() {
    if let Ok(seed) = std::env::var("LARDER_SEED") {
        let counts = run([seed.parse().expect("a number")]);
        return println!("{counts:?}");
    }
    let histories = samples(HISTORIES);
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            std::thread::spawn(move || run((thread..histories).step_by(THREADS as usize)))
        })
        .collect();
    let counts = threads.into_iter().map(|thread| match thread.join() {
        Ok(counts) => counts,
        Err(why) => std::panic::resume_unwind(why),
    });
    let counts = counts.fold(Counts::default(), |sum, counts| sum + counts);
    println!("{histories} histories: {counts:?}");
    // All of it has happened, and not only now and then.
    let Counts {
        performed,
        lost_requests,
        lost_replies,
        late_copies,
        busy,
        node_kills,
        client_kills,
        epochs,
        closed_purses,
    } = counts;
    assert!(performed > 4 * histories);
    for often in [
        lost_requests,
        lost_replies,
        late_copies,
        node_kills,
        client_kills,
        epochs,
    ] {
        assert!(often > histories / 10, "{counts:?}");
    }
    assert!(
        busy > histories / 100 && closed_purses > histories / 100,
        "{counts:?}"
    );
}
