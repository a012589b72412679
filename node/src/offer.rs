//! What an operator asks for the node's work: prices, refunds, what can be bought, and how long
//! that holds.
//!
//! An offer takes effect when the next epoch is entered, and holds to that epoch's end: terms
//! that changed within an epoch would tell clients apart (`credentials.md` §9.2).

use larder_credentials::RangeWidth;
use larder_credentials::holder::HEADROOM;
use larder_protocol::record::Prices;
use larder_protocol::{BLOB_LEN, CELL_BYTES, Quote};

/// Refunds, or denominations, that an offer may list: a record has to fit a message.
const LONGEST_LIST: usize = 16;

/// What an operator asks, and what can be bought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Seconds from one epoch to the next.
    pub epoch_seconds: u32,
    /// How many earlier epochs' credentials are accepted, the `N` of `credentials.md`.
    pub earlier_epochs: u32,
    /// Prices in tokens.
    pub prices: Prices,
    /// Tokens returned for a delete `0, 1, …` epochs after the insert; none after the last, and
    /// never more than was published for the blob when it was stored.
    pub refunds: Vec<u64>,
    /// Amounts in tokens that can be bought as one pair of credentials.
    pub denominations: Vec<u64>,
}

impl Offer {
    /// How many earlier epochs the next one takes credentials of, as records say it.
    pub(crate) fn next_takes(&self) -> u8 {
        u8::try_from(self.earlier_epochs).unwrap_or(u8::MAX)
    }

    /// Says what is wrong with the offer, if anything: the key at fault, and why.
    pub(crate) fn fault(&self) -> Option<String> {
        let Prices {
            insert,
            lookup,
            delete,
            breakglass,
            transfer,
        } = self.prices;
        for (key, price) in [
            ("insert", insert),
            ("lookup", lookup),
            ("delete", delete),
            ("breakglass", breakglass),
            ("transfer", transfer),
        ] {
            // A refund is below a price, and a pair has room for so much more.
            if !(1..=HEADROOM).contains(&price) {
                return Some(format!(
                    "`prices.{key}` must be from 1 to {HEADROOM}, not {price}"
                ));
            }
        }
        if lookup > insert {
            return Some(format!(
                "`prices.lookup` must not be above `prices.insert`, {insert}: an insert that is \
                 refused costs what a look-up costs"
            ));
        }
        let least = lookup.min(delete).min(breakglass);
        if transfer > least {
            return Some(format!(
                "`prices.transfer` must not be above `prices.lookup`, `prices.delete` and \
                 `prices.breakglass`, {least}: a client finds a lost pair again by offering a \
                 transfer for it"
            ));
        }
        // More than twice as much for each byte. All are below 2^32, see above.
        let enough = 2 * CELL_BYTES as u64 * insert / BLOB_LEN as u64 + 1;
        if breakglass < enough {
            return Some(format!(
                "`prices.breakglass` must be at least {enough}, not {breakglass}: cells are no \
                 cheap place for blobs, a byte of one costs more than twice as much as where \
                 `prices.insert` is {insert}"
            ));
        }
        if self.refunds.len() > LONGEST_LIST {
            return Some(format!(
                "`prices.refunds` has at most {LONGEST_LIST} entries"
            ));
        }
        if let Some(refund) = self.refunds.iter().find(|refund| **refund >= insert) {
            return Some(format!(
                "`prices.refunds` must be below `prices.insert`, {insert}, and {refund} is not: \
                 storing and deleting would make tokens"
            ));
        }
        if let Some(pair) = self.refunds.windows(2).find(|pair| pair[0] < pair[1]) {
            return Some(format!(
                "`prices.refunds` must not rise from epoch to epoch, as from {} to {}",
                pair[0], pair[1]
            ));
        }
        let (count, most) = (self.denominations.len(), RangeWidth::Bits32.largest());
        if !(1..=LONGEST_LIST).contains(&count) {
            return Some(format!(
                "`prices.denominations` has 1 to {LONGEST_LIST} entries, not {count}"
            ));
        }
        if let Some(tokens) = (self.denominations.iter()).find(|t| !(1..=most).contains(*t)) {
            return Some(format!(
                "`prices.denominations` must be from 1 to {most}, not {tokens}"
            ));
        }
        if !self.denominations.is_sorted_by(|one, next| one < next) {
            return Some("`prices.denominations` must rise".to_owned());
        }
        None
    }

    /// The refunds to publish for an epoch, after one that published `previous`.
    ///
    /// What was stored `age` epochs ago gets no more than was published for it then: an insert
    /// that was cheap must not become worth more by waiting for dearer times.
    pub(crate) fn refunds_after(&self, previous: &[u64]) -> Vec<u64> {
        let Some((first, later)) = self.refunds.split_first() else {
            return Vec::new();
        };
        let later = later.iter().zip(previous).map(|(now, then)| *now.min(then));
        std::iter::once(*first).chain(later).collect()
    }

    /// Whether one quote can be for so many tokens in all: as many claims as a quote may have,
    /// of one denomination.
    pub(crate) fn sells(&self, tokens: u64) -> bool {
        self.denominations.iter().any(|denomination| {
            tokens.is_multiple_of(*denomination)
                && (1..=Quote::MAX_TAGS as u64).contains(&(tokens / denomination))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer() -> Offer {
        Offer {
            epoch_seconds: 604_800,
            earlier_epochs: 2,
            prices: Prices {
                insert: 16,
                lookup: 1,
                delete: 1,
                breakglass: 64,
                transfer: 1,
            },
            refunds: vec![8, 6, 4, 2],
            denominations: vec![1_000, 10_000],
        }
    }

    #[test]
    fn an_offer_by_which_tokens_could_be_made_or_clients_told_apart_is_refused_with_its_key() {
        assert_eq!(offer().fault(), None);
        let fault = |change: fn(&mut Offer)| {
            let mut offer = offer();
            change(&mut offer);
            offer.fault().unwrap_or_default()
        };
        for (fault, part) in [
            (fault(|o| o.prices.transfer = 0), "`prices.transfer`"),
            (fault(|o| o.prices.delete = HEADROOM + 1), "`prices.delete`"),
            (fault(|o| o.prices.lookup = 17), "not be above"),
            (fault(|o| o.prices.transfer = 2), "above `prices.lookup`"),
            (fault(|o| o.refunds[0] = 16), "below `prices.insert`, 16"),
            (
                fault(|o| {
                    // The least is 2 x 256 x 1,000 / 16,433 = 31.2 and a bit more.
                    o.prices.insert = 1_000;
                    o.prices.breakglass = 31;
                }),
                "`prices.breakglass` must be at least 32, not 31",
            ),
            (fault(|o| o.refunds[3] = 5), "from 4 to 5"),
            (fault(|o| o.refunds = vec![1; 17]), "at most 16"),
            (fault(|o| o.denominations.clear()), "1 to 16 entries"),
            (fault(|o| o.denominations[0] = 0), "from 1 to"),
            (fault(|o| o.denominations[1] = 1 << 32), "not 4294967296"),
            (fault(|o| o.denominations[1] = 1_000), "must rise"),
        ] {
            assert!(fault.contains(part), "{fault}");
        }
    }

    #[test]
    fn a_byte_of_a_cell_costs_more_than_twice_a_byte_of_a_blob_and_the_least_that_does_is_taken() {
        for insert in [1, 16, 32, 33, 1_000, 16_433, 50_000] {
            let mut offer = offer();
            offer.prices.insert = insert;
            offer.refunds.clear();
            let taken = |breakglass: &u64| {
                offer.prices.breakglass = *breakglass;
                offer.fault().is_none()
            };
            let least = (1..=HEADROOM).find(taken).unwrap();
            let dearer = |price: u64| price * 16_433 > 2 * insert * 256;
            assert!(dearer(least), "{insert}: {least}");
            assert!(least == 1 || !dearer(least - 1), "{insert}: {least}");
        }
    }

    #[test]
    fn a_refund_is_never_raised_for_what_is_stored_already() {
        let mut offer = offer();
        assert_eq!(offer.refunds_after(&[]), [8]);
        assert_eq!(offer.refunds_after(&[8]), [8, 6]);
        assert_eq!(offer.refunds_after(&[8, 6, 4, 2]), [8, 6, 4, 2]);
        assert_eq!(offer.refunds_after(&[80, 6, 4, 2]), [8, 6, 4, 2]);
        assert_eq!(offer.refunds_after(&[3, 2, 1]), [8, 3, 2, 1]);
        offer.refunds.clear();
        assert_eq!(offer.refunds_after(&[8, 6]), [0; 0]);
    }

    #[test]
    fn a_voucher_can_be_for_what_up_to_sixteen_claims_of_one_denomination_make() {
        let sold = |tokens: &u64| offer().sells(*tokens);
        assert!([1_000, 2_000, 16_000, 20_000, 160_000].iter().all(sold));
        assert!(![0, 999, 1_500, 17_000, 170_000, 176_000].iter().any(sold));
    }
}
