//! The tests that §12 of the specification asks for, by subject.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests say what they expect by panicking when it is not so"
)]

mod boundary;
mod claims;
mod conservation;
mod crash;
mod decoders;
mod entries;
mod epochs;
mod fixture;
mod refunds;
mod refusals;
mod replay;
mod round_trip;
mod tampering;
mod walks;
