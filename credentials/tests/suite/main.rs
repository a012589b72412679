//! The tests that §12 of the specification asks for, by subject.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests say what they expect by panicking when it is not so"
)]

mod fixture;
mod replay;
mod round_trip;
mod tampering;
