//! `larderd voucher create`: tokens to hand out. Needs the seed and no store, so it works beside a
//! running node; which vouchers were used only that node knows.

use std::fmt::Write;

use clap::Args;

use crate::believed::could_be;
use crate::clock::Clock;
use crate::config::Payment;
use crate::identity::Identity;
use crate::till::Vouchers;
use crate::{Config, NodeError};

const DAY: u64 = 24 * 60 * 60;

#[derive(Args)]
pub(super) struct Create {
    /// What each is worth: a multiple, up to sixteenfold, of an amount that can be bought. It is
    /// taken only while the running epoch sells that amount, and a change of
    /// `prices.denominations` counts from the next epoch on
    #[arg(long)]
    pub(super) tokens: u64,
    /// How many to make
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) count: u32,
    /// For how many days they can be used
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    pub(super) expires_days: u32,
}

/// The codes, one a line.
pub(super) fn create(
    config: &Config,
    create: &Create,
    clock: &dyn Clock,
) -> Result<String, NodeError> {
    let wrong = |origin: &str, problem: String| NodeError::Config {
        origin: origin.to_owned(),
        problem,
    };
    if config.payment == Payment::None {
        let problem = "this node serves everybody for free and takes no vouchers".to_owned();
        return Err(wrong("payment", problem));
    }
    if !config.offer.sells(create.tokens) {
        let problem = format!(
            "{} tokens are not one to sixteen times one of the amounts that can be bought, {:?}",
            create.tokens, config.offer.denominations
        );
        return Err(wrong("--tokens", problem));
    }
    let till = Vouchers::new(&Identity::load(&config.seed_path())?);
    let now = clock.now();
    could_be(now)?;
    let expires = now + u64::from(create.expires_days) * DAY;
    let mut codes = String::new();
    for _ in 0..create.count {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| NodeError::File {
            doing: "draw randomness for",
            path: config.seed_path(),
            source: error.into(),
        })?;
        // Writing to a string cannot fail.
        let _ = writeln!(codes, "{}", till.issue(id, create.tokens, expires));
    }
    Ok(codes)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use larder_protocol::Voucher;

    use super::*;
    use crate::clock::test::At;

    fn node() -> (tempfile::TempDir, Config) {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::load(None, Some(folder.path()), []).unwrap();
        Identity::create(&config.seed_path()).unwrap();
        (folder, config)
    }

    const NOW: u64 = 1_800_000_000;

    fn make(config: &Config, tokens: u64) -> Result<String, NodeError> {
        let order = Create {
            tokens,
            count: 3,
            expires_days: 2,
        };
        create(config, &order, &At(NOW))
    }

    #[test]
    fn a_clock_that_was_never_set_makes_no_voucher_that_is_over_already() {
        let (_folder, config) = node();
        let order = Create {
            tokens: 1_000,
            count: 1,
            expires_days: 2,
        };
        let refused = create(&config, &order, &At(5));
        assert!(matches!(refused, Err(NodeError::Clock(_))));
    }

    #[test]
    fn each_code_is_another_genuine_voucher_of_this_node() {
        let (_folder, config) = node();
        let codes = make(&config, 20_000).unwrap();
        let key = Identity::load(&config.seed_path()).unwrap().voucher_key();
        let vouchers: Vec<Voucher> = codes.lines().map(|code| code.parse().unwrap()).collect();
        for voucher in &vouchers {
            assert!(voucher.genuine(&key));
            assert_eq!((voucher.tokens, voucher.expires), (20_000, NOW + 2 * DAY));
        }
        let ids: HashSet<_> = vouchers.iter().map(|voucher| voucher.id).collect();
        assert_eq!(ids.len(), 3);
    }

    #[test]
    fn vouchers_that_nobody_could_use_are_not_made() {
        let (_folder, mut config) = node();
        for tokens in [0, 999, 1_500, 17_000] {
            let problem = make(&config, tokens).unwrap_err().to_string();
            assert!(problem.contains("--tokens"), "{problem}");
        }
        config.payment = Payment::None;
        let problem = make(&config, 1_000).unwrap_err().to_string();
        assert!(problem.contains("for free"), "{problem}");
    }

    #[test]
    fn without_a_seed_no_voucher_is_made_and_no_seed_either() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::load(None, Some(folder.path()), []).unwrap();
        assert!(matches!(make(&config, 1_000), Err(NodeError::File { .. })));
        assert!(!config.seed_path().exists());
    }
}
