//! The desk as a client meets it, without a network: what is paid, what is refused, what a retry,
//! an epoch and a crash make of it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test panics when it is not so"
)]

mod cells;
mod epochs;
mod full;
mod passes;
mod paying;
mod races;
mod scene;
mod threads;
mod tills;
