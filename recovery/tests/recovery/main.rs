//! What `larder-recovery` promises, against a storage node in memory that speaks the real
//! protocol and can be told to lose, repeat and lie. The same over real sockets is in the
//! workspace's `tests/`.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test panics when it is not so"
)]

mod ahead;
mod breakglass;
mod breakglass_counted;
mod breakglass_crashes;
mod breakglass_standing;
mod breakglass_turn;
mod breakglass_unheard;
mod checkpoints;
mod copies;
mod crashes;
mod forged_blobs;
mod forged_by_one;
mod forged_numbers;
mod forger;
mod journals;
mod keys;
mod log_anchors;
mod log_cache;
mod log_crashes;
mod log_histories;
mod log_map;
mod log_progress;
mod log_provider;
mod log_shown;
mod log_unfinished;
mod loss;
mod lss_rules;
mod one_for_all;
mod paid;
mod passes;
mod passes_kept_back;
mod payments;
mod purchases;
mod quorum_changes;
mod quorum_deletes;
mod quorum_faults;
mod quorum_histories;
mod quorum_of_one;
mod quorum_stagger;
mod reach;
mod reach_key;
mod receipts;
mod sea;
mod seals;
mod sequences;
mod shelf;
mod threads;
mod unheard;
mod upkeep;
mod vss_rules;
mod waiting;
mod walks;
mod words;
