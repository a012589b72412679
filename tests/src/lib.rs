//! What the tests share with the benchmarks.

pub mod attacker;
