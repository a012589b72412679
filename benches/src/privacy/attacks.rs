//! What a storage node can tell from what it sees: one small function per attack.
//!
//! | file | attacks |
//! | --- | --- |
//! | `score` | what a guess is worth |
//! | [`shared`] | bytes that two requests have in common, and lengths |
//! | [`near`] | whatever comes close behind or beside something else |
//! | [`commands`] | what one command asks that another one has asked |
//! | [`pairs`] | any two requests, judged by when and what they are |
//! | `trees` | learning how to judge them |
//!
//! Guesses are made from [`Seen`](super::recording::Seen) alone. Whose requests they were counts them
//! afterwards.

pub(crate) mod commands;
pub(crate) mod near;
pub(crate) mod pairs;
pub(crate) mod shared;

mod score;
mod trees;

pub(crate) use score::Score;

#[cfg(test)]
mod tests;
