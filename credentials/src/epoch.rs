//! The validity period of an issuer key.

use std::fmt;

/// The number of an epoch (§1). Take it from the parameter record, never from a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The oldest epoch accepted while this one is current, `earlier` being the number
    /// `N` of accepted earlier epochs.
    #[must_use]
    pub fn oldest_live(self, earlier: u32) -> Epoch {
        Epoch(self.0.saturating_sub(earlier))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
