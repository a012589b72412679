//! The suite that every engine passes, run on sled.
#![expect(
    clippy::expect_used,
    reason = "a store that does not open fails the test"
)]

use std::path::Path;
use std::sync::Arc;

use larder_store::suite::sample::options;
use larder_store::{Engine, SledEngine};

fn open(folder: &Path) -> Arc<dyn Engine> {
    Arc::new(SledEngine::open(folder, options()).expect("the store opens"))
}

larder_store::engine_suite!(open);
