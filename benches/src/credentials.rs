//! What anonymous credentials cost, in ECDSA verifications of libsecp256k1.
//!
//! The yardstick runs once in every round, between the figures, so that whatever else the
//! machine does meets both. Tables of generators and of the issuer's parameters are warm,
//! as they are in a server after its first request. A server's figures are those of a ledger
//! over [`Forgetful`] tables, so the same requests are new each time.

use std::cell::Cell;
use std::convert::Infallible;
use std::hint::black_box;
use std::num::NonZeroU64;
use std::time::Duration;

use larder_credentials::ledger::memory::{Memory, MemoryTransaction};
use larder_credentials::ledger::{Admitted, LedgerError, Outcome, Tariff, Verified};
use larder_credentials::{
    AdjustRule, Epoch, InFlight, Issuer, Ledger, MasterSecret, OpCode, Reply, Request, Root, Row,
    Service, Settled, Spending, Unspent,
};

use crate::forgetful::Forgetful;
use crate::report::{Bar, Report, cpu_of, spread};
use crate::yardstick::{ECDSA as YARDSTICK, Ecdsa};

const ROUNDS: usize = 7;
const BATCHES: [usize; 3] = [4, 16, 64];
const REQUESTS: usize = 64;

/// Every operation costs one token.
struct OneToken;

impl Tariff for OneToken {
    fn price(&self, _: OpCode, _: &[u8]) -> Option<NonZeroU64> {
        NonZeroU64::new(1)
    }

    fn largest_adjust(&self, _: OpCode, _: &[u8]) -> u64 {
        0
    }
}

/// What is measured, and what it took in each round, in microseconds.
struct Figure<'a> {
    name: String,
    bar: Option<Bar>,
    repeat: usize,
    per: usize,
    work: Box<dyn FnMut() + 'a>,
    samples: Vec<f64>,
}

impl<'a> Figure<'a> {
    fn new(name: &str, repeat: usize, work: impl FnMut() + 'a) -> Self {
        Figure {
            name: name.to_owned(),
            bar: None,
            repeat,
            per: 1,
            work: Box::new(work),
            samples: Vec::new(),
        }
    }

    fn with_bar(self, bar: f64) -> Self {
        Figure {
            bar: Some(Bar::AtMost(bar)),
            ..self
        }
    }

    /// One call of the work answers this many requests.
    fn per(self, per: usize) -> Self {
        Figure { per, ..self }
    }

    fn sample(&mut self) {
        let took = cpu_of(|| (0..self.repeat).for_each(|_| (self.work)()));
        let calls = (self.repeat * self.per) as f64;
        self.samples.push(micros(took) / calls);
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// What the figures work on.
struct Scene {
    ledger: Ledger<Memory, OneToken>,
    forgetful: Ledger<Forgetful, OneToken>,
    root: Root,
    pair: Box<[u8]>,
    cores: Vec<Vec<u8>>,
    row: Row,
    replies: [Vec<u8>; 2],
}

/// Takes the figures of `benchmarks.md`, rows "paid operation".
pub(crate) fn run(report: &mut Report) -> Result<(), &'static str> {
    report.note("one holder, seeded; epoch key and generator tables warm; n = 32, k = 2");
    let scene = Scene::set().ok_or("the protocol did not run through")?;
    let record = scene.ledger.issuer().record();
    let service = record.service();
    let verified: Vec<Verified> = verify(&scene, &scene.cores);
    if verified.len() != REQUESTS {
        return Err("the requests do not verify");
    }
    let request_bytes = Request::decode(service, &scene.cores[0])
        .map_err(|_| "no request")?
        .credential_bytes();

    let ecdsa = Ecdsa::new().ok_or("no secret key")?;
    let mut yardstick = Figure::new(YARDSTICK, 400, || assert!(ecdsa.verifies()));

    // Single requests take turns: tables and branches would get used to one of them.
    let turns = Cell::new(0);
    let next = || {
        turns.set((turns.get() + 1) % REQUESTS);
        turns.get()
    };
    let mut figures = vec![
        Figure::new("client: build a request", 8, || {
            let spending = Spending::transfer(1);
            let pair = Unspent::decode(&scene.pair).ok();
            let in_flight = pair.map(|pair| pair.spend(&scene.root, record, &spending).is_ok());
            assert_eq!(in_flight, Some(true));
        }),
        Figure::new("client: open a row", 32, || {
            assert!(black_box(&scene.row).open(&scene.root, record).is_ok());
        }),
        Figure::new("server: look up a replay", 400, || {
            let admitted = scene.ledger.admit(&scene.cores[next()]);
            assert!(matches!(admitted, Ok(Admitted::Answered(_))));
        }),
        Figure::new("server: verify, single", 32, || {
            let request = Request::decode(service, &scene.cores[next()]);
            assert!(request.is_ok_and(|request| scene.ledger.issuer().verify(&request).is_ok()));
        }),
        Figure::new("server: issue", 64, || {
            let verified = verified[next()].clone();
            assert!(
                scene
                    .forgetful
                    .settle(verified, |_, _| Ok(Outcome::DONE))
                    .is_ok()
            );
        }),
        Figure::new("server: verify and issue, single", 32, || {
            assert!(serve(&scene, &scene.cores[next()..][..1]));
        })
        .with_bar(60.0),
    ];
    for batch in BATCHES {
        let name = format!("server: verify and issue, batches of {batch}");
        let cores = &scene.cores[..batch];
        let scene = &scene;
        let figure = Figure::new(&name, REQUESTS / batch, move || {
            assert!(serve(scene, cores));
        });
        let figure = figure.per(batch);
        figures.push(if batch == 16 {
            figure.with_bar(35.0)
        } else {
            figure
        });
    }

    for round in 0..=ROUNDS {
        yardstick.sample();
        figures.iter_mut().for_each(Figure::sample);
        if round == 0 {
            // The first one warms caches and tables.
            yardstick.samples.clear();
            figures.iter_mut().for_each(|f| f.samples.clear());
        }
    }
    let (unit, lowest, highest) = spread(&mut yardstick.samples);
    report.value(YARDSTICK, unit, "us CPU");
    report.note(&format!("{YARDSTICK}: {lowest:.1} to {highest:.1} us"));
    for figure in &mut figures {
        let (median, lowest, highest) = spread(&mut figure.samples);
        report.ratio(
            &figure.name,
            median,
            "us CPU",
            (YARDSTICK, unit),
            figure.bar,
        );
        report.note(&format!(
            "{ROUNDS} rounds: {:.1} to {:.1} x",
            lowest / unit,
            highest / unit
        ));
    }
    let sizes: [(&str, usize, Option<f64>); 4] = [
        (
            "request without operation parameters",
            request_bytes,
            Some(1_500.0),
        ),
        ("reply: performed", scene.replies[0].len(), Some(400.0)),
        (
            "reply: not performed, one row",
            scene.replies[1].len(),
            None,
        ),
        ("stored pair", scene.pair.len(), None),
    ];
    for (name, bytes, bar) in sizes {
        match bar {
            Some(bar) => report.count(name, bytes as f64, "bytes", Bar::AtMost(bar)),
            None => report.value(name, bytes as f64, "bytes"),
        }
    }
    Ok(())
}

/// What a server does for requests that arrived together.
fn serve(scene: &Scene, cores: &[Vec<u8>]) -> bool {
    let verified = verify(scene, cores);
    verified.len() == cores.len()
        && (verified.into_iter()).all(|verified| {
            let reply = scene.forgetful.settle(verified, |_, _| Ok(Outcome::DONE));
            matches!(reply, Ok(Reply::Performed { .. }))
        })
}

/// Those of the requests that are new and whose proofs hold.
fn verify(scene: &Scene, cores: &[Vec<u8>]) -> Vec<Verified> {
    let admitted = cores
        .iter()
        .map(|core| scene.forgetful.admit(black_box(core)));
    let unverified = admitted.filter_map(|admitted| match admitted {
        Ok(Admitted::Unverified(request)) => Some(request),
        _ => None,
    });
    let results = scene.forgetful.verify(unverified.collect());
    results.into_iter().filter_map(Result::ok).collect()
}

impl Scene {
    /// A pair is bought, then spent 64 times in a row; the last one is kept unspent.
    fn set() -> Option<Scene> {
        let master = MasterSecret::from_bytes([1; 32]);
        let issuer = || Issuer::new(&master, Service::new([2; 32]), Epoch(9), 1);
        let ledger = Ledger::new(issuer(), Memory::new(), OneToken).ok()?;
        let forgetful = Ledger::new(issuer(), Forgetful::default(), OneToken).ok()?;
        let record = ledger.issuer().record();
        let root = Root::from_bytes([4; 32]);
        let claim = root.claim_secret(0);
        ledger.open_claim(&claim.tag(), [0; 32], 1_000_000).ok()?;
        ledger.mark_paid(&claim.tag()).ok()?;
        let purchase = InFlight::purchase(&root, record, &claim, 1_000_000, None).ok()?;
        let reply = ledger.process(purchase.core(), done).ok()?;
        let (mut pair, _) = settle(purchase, &root, &ledger, reply)?;
        let mut cores = Vec::new();
        let mut replies = [Vec::new(), Vec::new()];
        let mut row = None;
        for _ in 0..REQUESTS {
            let stored = pair.encode();
            let in_flight = pair.spend(&root, record, &Spending::transfer(1)).ok()?;
            let reply = ledger.process(in_flight.core(), done).ok()?;
            cores.push(in_flight.core().to_vec());
            (pair, replies[0]) = settle(in_flight, &root, &ledger, reply)?;
            let again = Unspent::decode(&*stored).ok()?;
            let work = Spending::on(OpCode::of_service(16)?, b"another operation", 1);
            let other = again.spend(&root, record, &work).ok()?;
            let reply = ledger.process(other.core(), done).ok()?;
            replies[1] = reply.encode();
            if let Reply::NotPerformed(rows) = reply {
                row = rows.into_iter().next();
            }
        }
        Some(Scene {
            pair: Box::from(pair.encode().as_slice()),
            root,
            cores,
            row: row?,
            replies,
            ledger,
            forgetful,
        })
    }
}

fn settle(
    in_flight: InFlight,
    root: &Root,
    ledger: &Ledger<Memory, OneToken>,
    reply: Reply,
) -> Option<(Unspent, Vec<u8>)> {
    let bytes = reply.encode();
    let record = ledger.issuer().record();
    match in_flight.accept(root, record, reply, AdjustRule::Exactly(0)) {
        Ok(Settled::Performed(replaced)) => Some((replaced.pair, bytes)),
        _ => None,
    }
}

fn done(_: &mut MemoryTransaction<'_>, _: &Request) -> Result<Outcome, LedgerError<Infallible>> {
    Ok(Outcome::DONE)
}
