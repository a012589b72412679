//! Progress: bars on a terminal; elsewhere nothing, or lines for what a restore is at.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use larder_recovery::OnionTransport;
use larder_recovery::breakglass::{Progress, Stage};

use crate::output::note;

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

/// What a restore is at, for people: a bar on a terminal, a line per stage elsewhere.
#[derive(Clone)]
pub(crate) struct Stages {
    bar: ProgressBar,
    /// What was said last; `None` when nothing is to be said.
    said: Arc<Mutex<Option<String>>>,
}

impl Stages {
    pub(crate) fn new(json: bool) -> Self {
        let bar = bar("restoring", 0, json);
        let lines = bar.is_hidden() && !json;
        Stages {
            bar,
            said: Arc::new(Mutex::new(lines.then(String::new))),
        }
    }

    /// Hears of the storage node with this number.
    pub(crate) fn of(&self, number: usize) -> impl FnMut(Progress) + Send + 'static {
        let stages = self.clone();
        move |progress| stages.hear(number, progress)
    }

    fn hear(&self, number: usize, progress: Progress) {
        let stage = text(progress.stage);
        let expected = progress.expected.unwrap_or(0);
        self.bar.set_length(expected.max(progress.blobs));
        self.bar.set_position(progress.blobs);
        self.bar.set_message(format!("blobs, {stage}"));
        let line = format!("storage node {number}: {stage}");
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(said) = said.as_mut()
            && *said != line
        {
            note(&line);
            *said = line;
        }
    }

    pub(crate) fn end(&self) {
        self.bar.finish();
    }
}

fn text(stage: Stage) -> &'static str {
    match stage {
        Stage::Cell => "opening the cell",
        Stage::Tokens => "taking the tokens",
        Stage::Page => "reading the page",
        Stage::Anchor => "looking for the newest anchor",
        Stage::Snapshot => "reading the snapshot",
        Stage::Log => "reading the log",
        Stage::Ready => "all is there",
    }
}
