//! The tests that every engine passes.
//!
//! `larder_store::engine_suite!(open)` makes a `#[test]` of each; `open` is a
//! `fn(&Path) -> Arc<dyn Engine>` that opens the store in a folder or creates one there,
//! with at least 16 MiB of room above its floor. Dropping the engine closes it. The macro
//! goes to the top level of a test crate, for the `kill -9` test starts itself again by its name.
#![expect(
    clippy::missing_panics_doc,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect by panicking when it is not so"
)]

mod behaviour;
mod cells;
mod kill;
mod ledger;
mod model;
pub mod sample;
pub mod scene;
pub mod sparse;

use std::path::Path;
use std::sync::Arc;

pub use behaviour::*;
pub use cells::*;
pub use kill::kill_9_loses_nothing_acknowledged;
pub use ledger::*;
pub use model::every_history_agrees_with_a_map;

use crate::Engine;

/// Opens the store in a folder.
pub type Open = fn(&Path) -> Arc<dyn Engine>;

/// Makes a `#[test]` of every test in the suite; see [`suite`](mod@crate::suite).
#[macro_export]
macro_rules! engine_suite {
    ($open:expr) => {
        $crate::engine_suite!(@ $open;
            an_inserted_blob_is_read_back,
            a_key_is_inserted_once,
            a_deleted_key_stays_deleted,
            a_delete_needs_the_stored_blobs_hash,
            effects_on_one_key_in_one_batch_take_place_in_order,
            what_was_committed_is_there_after_reopening,
            tombstones_of_every_epoch_count,
            of_racing_inserts_one_wins,
            a_read_beside_deletes_never_shows_other_bytes,
            usage_counts_blobs_and_tombstones,
            a_store_has_one_owner_for_good,
            the_time_that_was_noted_last_is_remembered,
            the_present_epoch_can_be_dated_anew_and_a_store_without_any_has_none_then,
            a_cell_only_goes_forward,
            a_doom_does_not_move_and_outlives_the_store_being_closed,
            a_cell_is_gone_at_its_deadline_for_every_call_whether_or_not_it_was_dropped,
            a_higher_sequence_clears_the_doom_and_the_same_does_not,
            opens_and_puts_in_one_batch_take_place_in_order,
            cells_are_dropped_when_they_are_gone_and_no_others,
            cells_outlive_epochs,
            a_cell_and_what_pays_for_it_take_place_together,
            an_entry_and_its_change_take_place_together,
            a_change_that_does_not_take_place_costs_nothing,
            a_declined_entry_keeps_its_change_from_taking_place,
            a_claim_is_opened_paid_and_used_in_one_batch,
            a_payment_opens_claims_once,
            a_tag_does_not_tell_whether_a_serial_is_spent,
            tokens_out_of_nothing_halt_issuance,
            epochs_are_entered_once_and_in_order,
            an_epochs_end_takes_its_rows_and_leaves_the_blobs,
            a_claim_stays_as_long_as_it_can_matter,
            every_history_agrees_with_a_map,
            kill_9_loses_nothing_acknowledged,
        );
    };
    (@ $open:expr; $($test:ident,)+) => {
        $(
            #[test]
            fn $test() {
                $crate::suite::$test($open);
            }
        )+
    };
}
