//! How a store is opened.

/// How a store is opened; none of it is written down.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of sled's page cache. 64 MiB by default.
    pub cache_bytes: u64,
    /// Inserts are refused when fewer bytes than this, and as many as the index takes, are
    /// free on the disk: the index needs room for deletes and for being rewritten, and the
    /// neighbours have to live, too. 1 GiB by default.
    pub free_space_floor: u64,
    /// Slots by which the slot file grows. 2,048 (32 MiB) by default.
    pub growth_slots: u64,
    /// Claims that may wait for their payment. 10,000 by default.
    pub open_claims: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            cache_bytes: 64 << 20,
            free_space_floor: 1 << 30,
            growth_slots: 2048,
            open_claims: 10_000,
        }
    }
}
