//! What storing a value costs, before anything is sent.

use larder_protocol::Record;

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
    let tariff = record.tariff.as_ref()?;
    let prices = &tariff.prices;
    let chunks = Cut::of(usize::try_from(bytes).unwrap_or(usize::MAX)).chunks();
    let blobs = chunks + 1;
    let times = |price: u64| blobs.saturating_mul(price);
    // A look in front of many inserts, and one in front of every delete.
    let look = if chunks > 0 { prices.lookup } else { 0 };
    Some(Price {
        blobs,
        store: times(prices.insert).saturating_add(look),
        read: times(prices.lookup),
        delete: times(prices.delete.saturating_add(prices.lookup)),
        refund: times(tariff.refunds.first().copied().unwrap_or(0)),
    })
}
