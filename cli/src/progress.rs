//! Progress bars, on a terminal only.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use larder_recovery::OnionTransport;

/// A bar on standard error; hidden when that is no terminal, or for machines.
pub(crate) fn bar(what: &'static str, total: u64, json: bool) -> ProgressBar {
    let bar = if json {
        ProgressBar::hidden()
    } else {
        ProgressBar::new(total)
    };
    // The template is constant, so a wrong one shows in the first run of the demo's test.
    if let Ok(style) =
        ProgressStyle::with_template("{prefix:>12} [{bar:40}] {pos}/{len} {msg} {elapsed}")
    {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(what);
    bar.set_length(total);
    bar
}

/// Shows how far transports have come while something is under way on them.
pub(crate) async fn watch<T>(
    bar: &ProgressBar,
    transports: &[Arc<OnionTransport>],
    task: impl Future<Output = T>,
) -> T {
    let round_trips = || -> u64 {
        let spent = transports.iter().map(|transport| transport.spent());
        spent.map(|spent| spent.round_trips).sum()
    };
    let before = round_trips();
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    let mut task = pin!(task);
    loop {
        tokio::select! {
            done = &mut task => break done,
            _ = ticks.tick() => bar.set_position(round_trips() - before),
        }
    }
}
