//! The operator's desk of the demo: vouchers, and the storage node's own count of its tokens.

use larder_node::Identity;
use larder_node::till::Vouchers;
use larder_protocol::{Quote, Voucher};
use larder_recovery::{Means, Stage};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::failed;
use super::parties::Parties;
use crate::connection::Connection;
use crate::error::CliError;
use crate::payer::now;

/// How long a voucher of the demo lasts, seconds.
const EXPIRY: u64 = 24 * 60 * 60;

/// Makes a voucher, as `larderd voucher create` does, and has the wallet buy tokens for it: at
/// least so many, in as many pairs as one payment opens. Again, if no single voucher is worth
/// that much. Returns how many it bought.
pub(super) async fn buy(
    parties: &Parties,
    wallet: &Connection,
    least: u64,
) -> Result<u64, CliError> {
    let vouchers = Vouchers::new(&Identity::load(&parties.config.seed_path())?);
    let mut rng = StdRng::from_os_rng();
    let denominations = &parties.config.offer.denominations;
    let amounts = denominations
        .iter()
        .map(|each| each * Quote::MAX_TAGS as u64);
    let amounts: Vec<u64> = amounts.collect();
    let mut bought = 0;
    while bought < least {
        let suffices = amounts.iter().find(|amount| **amount >= least - bought);
        let Some(tokens) = suffices.or(amounts.last()).copied() else {
            return Err(failed("nothing is sold".to_owned()));
        };
        let code = vouchers
            .issue(rng.random(), tokens, now() + EXPIRY)
            .to_string();
        // From here on it is the wallet's business.
        let voucher: Voucher = code
            .parse()
            .map_err(|_| failed("a voucher does not read".to_owned()))?;
        let purchase = wallet.provider.buy(tokens, Means::Voucher(voucher)).await?;
        if purchase.stage != Stage::Collected {
            return Err(failed("a voucher was not enough".to_owned()));
        }
        bought += tokens;
    }
    Ok(bought)
}

/// Tokens that there can be, as the storage node counts them; it never sees who holds what.
pub(super) fn outstanding(parties: &Parties) -> Result<u64, CliError> {
    let outstanding = parties.node.outstanding()?;
    u64::try_from(outstanding)
        .map_err(|_| failed(format!("the storage node counts {outstanding} tokens")))
}
