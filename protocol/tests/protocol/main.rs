//! What `larder-protocol` promises, seen from outside.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test panics when it is not so"
)]

mod address;
mod decoders;
mod messages;
mod payments;
mod signatures;
mod vectors;
mod voucher;
