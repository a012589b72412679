//! Larder as its users meet it: relay, storage node and client are processes of their own, and
//! talk over real sockets.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test panics when it is not so"
)]

mod attacked;
mod bare;
mod by_hand;
mod by_hand_attacked;
mod by_hand_attacked_paid;
mod by_hand_buying;
mod by_hand_changes;
mod by_hand_checkpoints;
mod by_hand_copied;
mod by_hand_devices;
mod by_hand_files;
mod by_hand_killed;
mod by_hand_lied_to;
mod by_hand_lost;
mod by_hand_lost_again;
mod by_hand_lsps;
mod by_hand_nothing;
mod by_hand_providers;
mod by_hand_receipts;
mod by_hand_targets;
mod by_hand_terms;
mod by_hand_words;
mod cell_times;
mod cells;
mod corruption;
mod daemon;
mod data_folder;
mod faults;
mod flood;
mod flood_of_opens;
mod histories;
mod hostile;
mod kill;
mod paid_hostile;
mod paid_kills;
mod privacy;
mod processes;
mod rollover;
mod samples;
mod security;
mod served;
mod total_loss;
mod total_loss_stored;
mod unlinkable;
mod wallet;
