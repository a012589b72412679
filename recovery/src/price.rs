//! What storing a value costs, before anything is sent.

use larder_protocol::Record;

use crate::log::map;
use crate::value::Cut;

/// What a value costs with one storage node, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// Blobs that the value takes.
    pub blobs: u64,
    /// Storing it.
    pub store: u64,
    /// Reading it once.
    pub read: u64,
    /// Deleting it, before the refund.
    pub delete: u64,
    /// What a delete in the epoch of the insert gives back; later ones give back less.
    pub refund: u64,
}

/// The price of a value of so many bytes in the plain [layout](crate::value) under these terms;
/// `None` when nothing is to be paid.
#[must_use]
pub fn price(record: &Record, bytes: u64) -> Option<Price> {
    let chunks = Cut::of(usize::try_from(bytes).unwrap_or(usize::MAX)).chunks();
    // A look in front of every delete.
    Price::of(record, chunks + 1, 1)
}

/// The price of a value of so many bytes in a [versioned map](crate::log::map) under these terms, the look-ups aside
/// that reading the log takes; `None` when nothing is to be paid. `seals` are the blobs that this storage node
/// holds of a take-over: one if it is the only provider, three if it is one of several.
#[must_use]
pub fn price_in_map(record: &Record, bytes: u64, seals: u64) -> Option<Price> {
    let insert = record.tariff.as_ref()?.prices.insert;
    let take_over = seals.saturating_mul(insert);
    // A look at what is there, and one in front of the delete.
    let value = Price::of(record, map::blobs(bytes), 2)?;
    Some(Price {
        store: value.store.saturating_add(take_over),
        // It is a commit that deletes.
        delete: (value.delete)
            .saturating_add(take_over)
            .saturating_add(insert),
        ..value
    })
}

impl Price {
    fn of(record: &Record, blobs: u64, looks: u64) -> Option<Self> {
        let tariff = record.tariff.as_ref()?;
        let prices = &tariff.prices;
        let times = |price: u64| blobs.saturating_mul(price);
        // A look in front of many inserts.
        let look = if blobs > 1 { prices.lookup } else { 0 };
        let looks = prices.lookup.saturating_mul(looks);
        Some(Price {
            blobs,
            store: times(prices.insert).saturating_add(look),
            read: times(prices.lookup),
            delete: times(prices.delete.saturating_add(looks)),
            refund: times(tariff.refunds.first().copied().unwrap_or(0)),
        })
    }
}
