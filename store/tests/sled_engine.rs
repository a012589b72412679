//! The suite that every engine passes, run on sled.
#![expect(
    clippy::expect_used,
    reason = "a store that does not open fails the test"
)]

use std::path::Path;
use std::sync::Arc;

use larder_store::{Engine, Options, SledEngine};

fn open(folder: &Path) -> Arc<dyn Engine> {
    let options = Options {
        cache_bytes: 4 << 20,
        free_space_floor: 0,
        growth_slots: 16,
        ..Options::default()
    };
    Arc::new(SledEngine::open(folder, options).expect("the store opens"))
}

larder_store::engine_suite!(open);
