//! Tokens are neither made nor lost.

use larder_credentials::ledger::{Outcome, Storage as _, Supply, Transaction as _, Writes as _};
use larder_credentials::{
    AdjustRule, Credential, InFlight, Reference, Refusal, Reply, Request, Settled, Spending,
    Status, Unspent, walk,
};
use proptest::prelude::*;

use crate::fixture::*;

/// A step of a random history. Lanes are chosen by index, modulo how many there are.
#[derive(Debug, Clone)]
enum Step {
    Buy {
        amount: u64,
        first: u64,
    },
    Work {
        lane: usize,
        adjust: u64,
        first: u64,
    },
    Transfer {
        lane: usize,
        first: u64,
    },
    Mix {
        lanes: (usize, usize),
    },
    Retry,
    SpendAgain {
        old: usize,
    },
    Walk {
        old: usize,
    },
    NextEpoch,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..2_000_u64, any::<u64>()).prop_map(|(amount, first)| Step::Buy { amount, first }),
        6 => (any::<usize>(), 0..25_u64, any::<u64>())
            .prop_map(|(lane, adjust, first)| Step::Work { lane, adjust, first }),
        3 => (any::<usize>(), any::<u64>())
            .prop_map(|(lane, first)| Step::Transfer { lane, first }),
        2 => (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Step::Mix { lanes: (a, b) }),
        2 => Just(Step::Retry),
        2 => any::<usize>().prop_map(|old| Step::SpendAgain { old }),
        2 => any::<usize>().prop_map(|old| Step::Walk { old }),
        1 => Just(Step::NextEpoch),
    ]
}

/// A holder with several lanes beside a plain integer: what the lanes must be worth.
struct History {
    ledger: TestLedger,
    lanes: Vec<Unspent>,
    spent: Vec<Unspent>,
    last: Option<(Vec<u8>, Reply)>,
    tokens: u128,
    claims: u64,
    walks: u64,
}

fn holds(pair: &Unspent, credential: &Credential) -> bool {
    let serial = credential.serial();
    pair.credentials().iter().any(|c| c.serial() == serial)
}

impl History {
    fn new() -> Self {
        History {
            ledger: ledger(),
            lanes: Vec::new(),
            spent: Vec::new(),
            last: None,
            tokens: 0,
            claims: 0,
            walks: 0,
        }
    }

    fn lane(&mut self, lane: usize) -> Option<Unspent> {
        let count = self.lanes.len();
        (count > 0).then(|| self.lanes.swap_remove(lane % count))
    }

    fn finish(&mut self, in_flight: InFlight, spent: Option<Unspent>, adjust: u64) {
        let (root, record) = (root(), self.ledger.issuer().record());
        let outcome = Outcome {
            status: Status(7),
            adjust,
        };
        let reply = self
            .ledger
            .process(in_flight.core(), |_, _| Ok(outcome))
            .unwrap();
        self.last = Some((in_flight.core().to_vec(), reply.clone()));
        let rule = AdjustRule::Exactly(adjust);
        let settled = in_flight.accept(&root, record, reply, rule).unwrap();
        let Settled::Performed(replaced) = settled else {
            panic!("a lane is spent by nobody else");
        };
        self.lanes.push(replaced.pair);
        self.spent.extend(spent);
    }

    fn spend(&mut self, lane: usize, cost: u64, adjust: u64, first: u64, work: bool) {
        let Some(pair) = self.lane(lane) else { return };
        let Some(left) = pair.total().checked_sub(cost.into()) else {
            self.lanes.push(pair);
            return;
        };
        let left = u64::try_from(left).unwrap();
        let first = if left == 0 { 0 } else { first % (left + 1) };
        let spending = if work {
            Spending::on(WORK, b"history", cost)
        } else {
            Spending::transfer(cost)
        };
        let spending = spending.into_outputs([first, left - first]);
        let (root, record) = (root(), self.ledger.issuer().record());
        let in_flight = spend(&pair, &root, record, spending);
        self.finish(in_flight, Some(pair), adjust);
        self.tokens = self.tokens - u128::from(cost) + u128::from(adjust);
    }

    /// Every path from a spent pair ends in credentials that are in some lane, and takes
    /// them over for the fee.
    fn walk(&mut self, old: usize) {
        if self.spent.is_empty() {
            return;
        }
        let start = copy(&self.spent[old % self.spent.len()]);
        self.walks += 1;
        let mut entropy = [0; 32];
        entropy[..8].copy_from_slice(&self.walks.to_le_bytes());
        let (root, ledger) = (root(), &self.ledger);
        let record = ledger.issuer().record();
        let mut last = Vec::new();
        let ended = walk(start, &root, record, FEE, &entropy, 64, |core| {
            last = core.to_vec();
            ledger.process(core, never)
        });
        let aside = match &ended {
            Ok(walked) => &walked.aside,
            Err(stopped) => &stopped.aside,
        };
        for credential in &aside.unspent {
            assert!(self.lanes.iter().any(|lane| holds(lane, credential)));
        }
        for row in &aside.rows {
            row.open(&root, record).unwrap();
        }
        let walked = match ended {
            Ok(walked) => walked,
            Err(stopped) => {
                // Only a pair that is worth nothing cannot offer a fee.
                assert_eq!(stopped.at.unwrap().total(), 0);
                return;
            }
        };
        assert!(walked.steps > 0, "the pair was spent before");

        // What the transfer consumed was in one lane, or in two that had been mixed.
        let request = Request::decode(&SERVICE, &last).unwrap();
        let consumed: Vec<Reference> = request.references().iter().collect();
        let (taken, lanes) =
            std::mem::take(&mut self.lanes)
                .into_iter()
                .partition(|lane: &Unspent| {
                    let [a, b] = lane.credentials();
                    consumed.contains(&a.serial()) || consumed.contains(&b.serial())
                });
        self.lanes = lanes;
        let (gone, rest): (Vec<_>, Vec<_>) = taken
            .into_iter()
            .flat_map(Unspent::into_credentials)
            .partition(|credential| consumed.contains(&credential.serial()));
        let gone: [Credential; 2] = gone.try_into().unwrap();
        let gone = Unspent::new(gone).unwrap();
        assert_eq!(walked.tip.pair.total(), gone.total() - u128::from(FEE));
        if !rest.is_empty() {
            let rest: [Credential; 2] = rest.try_into().unwrap();
            self.lanes.push(Unspent::new(rest).unwrap());
        }
        self.lanes.push(walked.tip.pair);
        self.spent.push(gone);
        self.tokens -= u128::from(FEE);
    }

    fn take(&mut self, step: Step) {
        let root = root();
        match step {
            Step::Buy { amount, first } => {
                let claim = paid_claim(&self.ledger, &root, self.claims, amount);
                self.claims += 1;
                let first = first % (amount + 1);
                let outputs = Some([first, amount - first]);
                let record = self.ledger.issuer().record();
                let purchase = InFlight::purchase(&root, record, &claim, amount, outputs);
                self.finish(purchase.unwrap(), None, 0);
                self.tokens += u128::from(amount);
            }
            Step::Work {
                lane,
                adjust,
                first,
            } => self.spend(lane, PRICE, adjust, first, true),
            Step::Transfer { lane, first } => self.spend(lane, FEE, 0, first, false),
            Step::Mix { lanes: (one, two) } => {
                if self.lanes.len() < 2 {
                    return;
                }
                let (Some(one), Some(two)) = (self.lane(one), self.lane(two)) else {
                    return;
                };
                if one.epoch() != two.epoch() {
                    self.lanes.extend([one, two]);
                    return;
                }
                let ([a, b], [c, d]) = (one.into_credentials(), two.into_credentials());
                self.lanes.push(Unspent::new([a, d]).unwrap());
                self.lanes.push(Unspent::new([c, b]).unwrap());
            }
            Step::Retry => {
                if let Some((core, reply)) = &self.last {
                    assert_eq!(self.ledger.process(core, never).as_ref(), Ok(reply));
                }
            }
            Step::SpendAgain { old } => {
                if self.spent.is_empty() {
                    return;
                }
                let pair = &self.spent[old % self.spent.len()];
                let record = self.ledger.issuer().record();
                let spending = Spending::on(WORK, b"again", pair.total().min(10) as u64);
                let Ok(attempt) = copy(pair).spend(&root, record, &spending) else {
                    return;
                };
                let reply = self.ledger.process(attempt.core(), never).unwrap();
                assert!(matches!(reply, Reply::NotPerformed(_)));
            }
            Step::Walk { old } => self.walk(old),
            Step::NextEpoch => {
                next_epoch(&mut self.ledger);
                for pair in std::mem::take(&mut self.lanes) {
                    let record = self.ledger.issuer().record();
                    let in_flight = spend(&pair, &root, record, Spending::reissue());
                    self.finish(in_flight, Some(pair), 0);
                }
                self.spent
                    .retain(|pair| pair.epoch() >= self.ledger.issuer().oldest());
            }
        }
    }

    fn check(&self) {
        let held: u128 = self.lanes.iter().map(Unspent::total).sum();
        assert_eq!(held, self.tokens);
        let expected = Supply {
            outstanding: self.tokens,
            halted: false,
        };
        assert_eq!(supply(&self.ledger), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn random_histories_agree_with_a_plain_integer_ledger(
        steps in prop::collection::vec(step(), 1..24),
    ) {
        let mut history = History::new();
        for step in steps {
            history.take(step);
            history.check();
        }
    }
}

#[test]
fn more_tokens_spent_than_issued_halt_the_issuer() {
    let (ledger, root, pair) = funded();
    let record = ledger.issuer().record();
    let other = buy(&ledger, &root, 1, 100);
    // What a forger would do to the books: tokens are there that were never issued.
    let Ok(mut transaction) = ledger.storage().begin();
    let short = Supply {
        outstanding: PRICE as u128 - 1,
        halted: false,
    };
    transaction
        .put_supply(short)
        .and_then(|()| transaction.commit())
        .unwrap();

    let in_flight = spend(&pair, &root, record, Spending::on(WORK, b"", PRICE));
    let references = ledger.storage().references();
    assert_eq!(
        refusal(ledger.process(in_flight.core(), done)),
        Refusal::Halted
    );
    assert_eq!(ledger.storage().references(), references);
    // A refund does not make up for it, and nothing else is issued any more.
    let next = spend(&other, &root, record, Spending::transfer(FEE));
    assert_eq!(refusal(ledger.process(next.core(), never)), Refusal::Halted);
    assert!(supply(&ledger).halted);
}
