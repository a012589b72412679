//! The tests that §12 of the specification asks for, by subject.

mod fixture;
mod round_trip;
