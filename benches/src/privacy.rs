//! What a storage node can tell of its clients: an adversary with its complete view of 8 and of 20 wallets, and one
//! that tells each client terms of its own.
//!
//! Points are points of advantage: half of true positives less false positives, in percent, on as many pairs "of
//! one wallet" as others; 50 is certainty. What each figure means for users is in `docs/privacy.md`.

mod app;
mod attacks;
mod forks;
mod paths;
mod recording;
mod shell;
mod wire;
mod world;

use std::collections::BTreeMap;
use std::error::Error;
use std::thread;
use std::time::Duration;

use larder_protocol::Op;

use self::attacks::{Score, commands, near, pairs, shared};
use self::forks::Lie;
use self::recording::{Outcome, Recording};
use self::world::{Kind, Lived, Plan};
use crate::report::{Bar, Report};

const SEED: u64 = 12;

/// Two hours stand for a week.
const EPOCH: Duration = Duration::from_secs(7_200);

/// Takes the figures of this set.
pub(crate) fn run(report: &mut Report) -> Result<(), Box<dyn Error>> {
    report.note(&format!(
        "seed {SEED}; epochs of {} s of a clock that jumps, two and a half of them; real wallets, real storage node; \
         points: 0 is chance, 50 is certainty",
        EPOCH.as_secs()
    ));
    over_onions(report)?;
    let plans = [("8 wallets", eight()), ("20 wallets", twenty())];
    let lies = [
        ("own passes", lied_to(Lie::Passes)),
        ("own prices", lied_to(Lie::Prices)),
    ];
    thread::scope(|scope| {
        // Each on a thread of its own, with the clock of its own.
        let live = |(name, plan)| {
            let life = scope.spawn(move || Plan::live(plan).map_err(|error| error.to_string()));
            (name, plan, life)
        };
        let worlds: Vec<_> = plans
            .iter()
            .map(|(name, plan)| live((*name, plan)))
            .collect();
        let lied_to: Vec<_> = lies
            .iter()
            .map(|(name, plan)| live((*name, plan)))
            .collect();
        let panicked = |_| "a world ended in a panic";
        for (lie, plan, life) in lied_to {
            noticed(report, lie, plan, &life.join().map_err(panicked)??);
        }
        for (name, plan, life) in worlds {
            figures(report, name, plan, &life.join().map_err(panicked)??);
        }
        Ok(())
    })
}

fn over_onions(report: &mut Report) -> Result<(), Box<dyn Error>> {
    let wire = wire::record()?;
    let links = shared::links(&wire.ways).len() as f64;
    let figure = format!(
        "onion messages: of {} ways back, bytes in common",
        wire.ways.len()
    );
    report.count(&figure, links, "pairs", Bar::AtMost(0.0));
    let figure = "onion messages: lengths and hop counts of ways back";
    report.count(figure, wire.forms as f64, "forms", Bar::AtMost(1.0));
    Ok(())
}

fn eight() -> Plan {
    use Kind::{App, Backup, Lost, Shell};
    Plan {
        kinds: vec![Shell, App, Backup, Shell, App, Lost, Shell, App],
        lsps: 1,
        epoch: EPOCH,
        epochs: 3,
        seed: SEED,
        lie: None,
    }
}

fn twenty() -> Plan {
    use Kind::{App, Backup, Lost, Shell};
    let mut kinds = vec![Lost, Lost, Backup, Backup];
    kinds.extend([Shell, Shell, App, App].repeat(4));
    Plan {
        kinds,
        lsps: 2,
        ..eight()
    }
}

/// Wallets that find themselves with a dishonest storage node.
fn lied_to(lie: Lie) -> Plan {
    use Kind::{App, Shell};
    Plan {
        kinds: [Shell, App].repeat(4),
        lsps: 1,
        seed: SEED + 1,
        lie: Some(lie),
        ..eight()
    }
}

fn figures(report: &mut Report, world: &str, plan: &Plan, lived: &Lived) {
    let recording = &lived.recording;
    let restores = &lived.restores;
    report.note(&format!(
        "{world}: {} requests through {} LSP(s), {} came again; {}",
        recording.seen.len(),
        plan.lsps,
        recording.again,
        shared::counts(&recording.seen)
    ));
    for failure in &lived.failures {
        report.note(&format!("{world}: {failure}"));
    }
    let bar = |report: &mut Report, figure: &str, value: f64, unit: &str, most: f64| {
        report.count(
            &format!("{world}: {figure}"),
            value,
            unit,
            Bar::AtMost(most),
        );
    };
    let plain = |report: &mut Report, figure: &str, value: f64, unit: &str| {
        report.value(&format!("{world}: {figure}"), value, unit);
    };
    bar(
        report,
        "failed commands",
        lived.failures.len() as f64,
        "commands",
        0.0,
    );

    // A restore shows the tokens of the lost wallet again, to find which of them are left.
    let is_restore = |at: usize| {
        let who = recording.who[at];
        restores.contains(&(who.wallet, who.command))
    };
    let links = shared::links(&recording.seen);
    let (shown_again, links): (Vec<_>, Vec<_>) =
        (links.into_iter()).partition(|&(one, other)| is_restore(one) || is_restore(other));
    // One that is under way when an epoch begins is refused, and what it has shown pays for another one.
    let is_refused = |at: usize| recording.seen[at].outcome == Outcome::WrongEpoch;
    let (shown_in_vain, links): (Vec<_>, Vec<_>) =
        (links.into_iter()).partition(|&(one, _)| is_refused(one));
    for &(one, other) in links.iter().take(3) {
        let [one, other] = [one, other].map(|at| &recording.seen[at]);
        report.note(&format!(
            "{world}: {:?} and {:?} share bytes",
            one.op, other.op
        ));
    }
    let figure = "requests that share bytes, keys apart";
    bar(report, figure, links.len() as f64, "pairs", 0.0);
    let figure = "the same, of what a restore shows again";
    plain(report, figure, shown_again.len() as f64, "pairs");
    let figure = "the same, of what was refused when an epoch began";
    plain(report, figure, shown_in_vain.len() as f64, "pairs");
    let lengths = shared::lengths(&recording.seen) as f64;
    bar(
        report,
        "operations of several lengths",
        lengths,
        "operations",
        0.0,
    );

    let repeated = commands::repeated(recording, restores);
    let figure = "look-ups shared by two commands, of what was there";
    // The end of the log itself, which is proven once more before the first write behind a restore.
    let ends = restores.len() as f64;
    bar(report, figure, repeated.there as f64, "look-ups", ends);
    let figure = "the same in vain, at most for two in a row";
    bar(
        report,
        figure,
        repeated.in_vain_at_most as f64,
        "look-ups",
        TAIL,
    );
    plain(
        report,
        "the same in vain, all",
        repeated.in_vain as f64,
        "look-ups",
    );
    let (tied, all) = commands::tied(recording);
    let share = 100.0 * tied as f64 / all.max(1) as f64;
    plain(
        report,
        "commands that a key ties to an earlier one",
        share,
        "percent",
    );
    let most = commands::in_vain_at_most(recording, restores) as f64;
    plain(
        report,
        "look-ups in vain of one command, at most",
        most,
        "look-ups",
    );
    let (vain, all) = commands::in_vain(recording);
    let share = 100.0 * vain as f64 / all.max(1) as f64;
    plain(report, "look-ups in vain", share, "percent");
    let (looked, deletes) = commands::looked_up_before_deletes(recording, Duration::from_secs(60));
    let share = 100.0 * looked as f64 / deletes.max(1) as f64;
    plain(report, "deletes with a look-up before", share, "percent");

    let milliseconds = Duration::from_millis;
    let guessed = [
        (
            "deletes within 200 ms",
            near::deletes(recording, milliseconds(200)),
            Some(3.0),
        ),
        (
            "reissues within 300 ms",
            near::reissues(recording, milliseconds(300)),
            Some(3.0),
        ),
        (
            "a purchase, next payment without a pass",
            near::purchases(recording),
            None,
        ),
        (
            "an exchange, what comes within 300 ms",
            near::exchanges(recording, milliseconds(300)),
            None,
        ),
        ("a cell, what is nearest", near::cells(recording), None),
    ];
    for (figure, score, most) in guessed {
        guesses(report, &format!("{world}: {figure}"), score, most);
    }
    // A command of the tool lasts a second or two, whatever the world's clock does: a burst of it is what comes within that,
    // in the window that suits the adversary best. An app's epochs are shorter here than in life, and its pauses with them.
    // A restore is a burst, and asks for what was lost once more.
    let is_tool = |at: usize| plan.kinds[recording.who[at].wallet] != Kind::App && !is_restore(at);
    let windows = [100, 200, 300, 500, 1_000, 2_000].map(milliseconds);
    let worst = |attack: fn(&Recording, &dyn Fn(usize) -> bool, Duration) -> Score| {
        let scores = windows.map(|within| attack(recording, &is_tool, within));
        let points = |one: &Score, other: &Score| one.points().total_cmp(&other.points());
        scores.into_iter().max_by(points).unwrap_or_default()
    };
    for (figure, score) in [
        (
            "deletes of the tool within up to 2 s",
            worst(near::deletes_of),
        ),
        (
            "reissues of the tool within up to 2 s",
            worst(near::reissues_of),
        ),
    ] {
        guesses(report, &format!("{world}: {figure}"), score, Some(3.0));
    }
    // Where nothing is done there is nothing to be told: about half of what there is, a wallet.
    let tools = plan.kinds.iter().filter(|kind| **kind != Kind::App);
    let (tools, all) = (tools.count() as f64, plan.kinds.len() as f64);
    for (op, wallets, least) in [
        (Op::Delete, tools, 10.0),
        (Op::Reissue, tools, 15.0),
        (Op::Insert, all, 40.0),
        (Op::Lookup, all, 12.0),
        (Op::Transfer, all, 4.0),
        (Op::BreakglassPut, all, 1.0),
    ] {
        let of = recording.places(|seen| seen.op == op);
        let of = of.into_iter().filter(|&at| wallets == all || is_tool(at));
        let figure = format!("{world}: {op:?} requests, to be told apart");
        let least = Bar::AtLeast(wallets * least);
        report.count(&figure, of.count() as f64, "requests", least);
    }
    let payments = recording.places(recording::Seen::is_payment).len();
    let without = near::without_pass(recording).len();
    let share = 100.0 * without as f64 / payments.max(1) as f64;
    plain(report, "payments without a pass", share, "percent");

    for milliseconds in [300, 2_000, 10_000, 60_000] {
        let time = Duration::from_millis(milliseconds);
        let seconds = time.as_secs_f64();
        if let Some(points) = pairs::within(recording, time, SEED) {
            plain(
                report,
                &format!("requests within {seconds} s"),
                points,
                "points",
            );
        }
        let is_app = |wallet: usize| plan.kinds[wallet] == Kind::App;
        if milliseconds > 300
            && let Some(points) = pairs::commits_within(recording, time, is_app, SEED)
        {
            plain(
                report,
                &format!("commits within {seconds} s"),
                points,
                "points",
            );
        }
    }
    if plan.lsps > 1 {
        plain(report, "which LSP", pairs::lsp(recording, SEED), "points");
    }
}

/// Keys behind what is known that a command may ask for, as the one before it has done: the next entry.
const TAIL: f64 = 1.0;

fn guesses(report: &mut Report, figure: &str, score: Score, most: Option<f64>) {
    report.note(&format!(
        "{figure}: {} guesses about {}, right {:.0} %, by chance {:.0} %",
        score.guesses,
        score.of,
        score.right_in_percent(),
        score.chance_in_percent()
    ));
    match most {
        Some(most) => report.count(figure, score.points(), "points", Bar::AtMost(most)),
        None => report.value(figure, score.points(), "points"),
    }
}

fn noticed(report: &mut Report, lie: &str, plan: &Plan, lived: &Lived) {
    let recording = &lived.recording;
    let wallets = plan.kinds.len();
    let mut unnoticed = 0;
    let mut most: u64 = 0;
    for wallet in 0..wallets {
        let objection = lived.objections.iter().find(|(who, ..)| *who == wallet);
        let until = objection.map_or(Duration::MAX, |(_, at, _)| *at);
        // Own prices begin with the second epoch.
        let from = match plan.lie {
            Some(Lie::Prices) => 1,
            _ => 0,
        };
        let mut paid: BTreeMap<u32, u64> = BTreeMap::new();
        for (seen, who) in recording.seen.iter().zip(&recording.who) {
            let is_its = who.wallet == wallet && seen.is_payment() && seen.epoch >= from;
            if is_its && seen.at <= until {
                *paid.entry(seen.epoch).or_default() += 1;
            }
        }
        let paid = paid.into_values().max().unwrap_or(0);
        unnoticed += usize::from(objection.is_none());
        most = most.max(paid);
        let told = objection.map_or("never".to_owned(), |(_, at, why)| {
            format!("after {} s: {why}", at.as_secs())
        });
        let kind = plan.kinds[wallet];
        report.note(&format!(
            "{lie}: wallet {wallet}, {kind:?}, paid up to {paid} times in an epoch and noticed {told}"
        ));
    }
    let infos = recording.places(|seen| seen.op == Op::Info).len();
    report.note(&format!("{lie}: the terms were asked for {infos} times"));
    let figure = format!("{lie}: wallets that never noticed");
    report.count(&figure, unnoticed as f64, "wallets", Bar::AtMost(0.0));
    let figure = format!("{lie}: payments in an epoch before it was noticed, at most");
    report.count(&figure, most as f64, "payments", Bar::AtMost(1.0));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two wallets for an epoch and a half.
    fn small(lie: Option<Lie>) -> Lived {
        let plan = Plan {
            kinds: vec![Kind::Shell, Kind::App],
            epoch: Duration::from_secs(600),
            epochs: 2,
            lie,
            ..eight()
        };
        plan.live().unwrap()
    }

    #[test]
    fn a_recorded_world_has_no_link_in_its_bytes_until_one_is_planted() {
        let mut lived = small(None);
        assert_eq!(lived.failures, [] as [String; 0]);
        let recording = &lived.recording;
        for wallet in 0..2 {
            assert!(recording.who.iter().any(|who| who.wallet == wallet));
        }
        for op in [
            Op::Info,
            Op::Quote,
            Op::Purchase,
            Op::Insert,
            Op::Lookup,
            Op::BreakglassPut,
        ] {
            assert!(recording.seen.iter().any(|seen| seen.op == op), "{op:?}");
        }
        assert_eq!(recording.seen.last().map(|seen| seen.epoch), Some(1));
        // What is paid for shows a pass, but for the first.
        let paid = recording.places(recording::Seen::is_payment);
        let without = near::without_pass(recording);
        assert!(paid.len() > 20 && without.len() < paid.len() / 4);
        assert_eq!(shared::links(&recording.seen), []);
        assert_eq!(shared::lengths(&recording.seen), 0);

        let marked: Vec<u8> = (0..32_u8).map(|at| at.wrapping_mul(41)).collect();
        let seen = &mut lived.recording.seen;
        let inserts: Vec<usize> = (0..seen.len())
            .filter(|&at| seen[at].op == Op::Insert)
            .collect();
        for at in [inserts[1], inserts[2]] {
            seen[at].body[1..33].copy_from_slice(&marked);
        }
        assert_eq!(shared::links(seen), [(inserts[1], inserts[2])]);
    }

    #[test]
    fn ways_back_have_nothing_in_common_and_one_form() {
        let wire = wire::record().unwrap();
        assert!(wire.ways.len() >= 120);
        assert_eq!(shared::links(&wire.ways), []);
        assert_eq!(wire.forms, 1);
    }
}
