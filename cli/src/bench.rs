//! Commands inside another program, for benchmarks: the same as typed, but by the clock of that program, and heard
//! by it instead of printed.

use std::cell::{Cell, RefCell};
use std::ffi::OsString;

use clap::Parser;

use crate::Args;
use crate::output::Output;

thread_local! {
    static CLOCK: Cell<Option<fn() -> u64>> = const { Cell::new(None) };
}

tokio::task_local! {
    static HEARD: RefCell<Vec<u8>>;
}

/// Commands on this thread go by this clock from now on, in unix seconds.
pub fn go_by(clock: fn() -> u64) {
    CLOCK.set(Some(clock));
}

/// What a command came to.
pub struct Ran {
    /// 0 when it is done.
    pub exit_code: u8,
    /// What it printed.
    pub said: String,
}

/// Runs a command on the present runtime. Its name comes first, as on a command line.
pub async fn run(args: impl IntoIterator<Item = OsString>) -> Ran {
    let output = Output { json: true };
    let work = async {
        let exit_code = match Args::try_parse_from(args) {
            Ok(args) => match Box::pin(crate::perform(args, &output)).await {
                Ok(()) => 0,
                Err(error) => {
                    let _ = output.error(&error);
                    error.exit_code()
                }
            },
            Err(error) => {
                hears(error.render().to_string().as_bytes());
                2
            }
        };
        let said = HEARD.with(RefCell::take);
        Ran {
            exit_code,
            said: String::from_utf8_lossy(&said).into_owned(),
        }
    };
    HEARD.scope(RefCell::default(), work).await
}

pub(crate) fn now() -> Option<u64> {
    CLOCK.get().map(|now| now())
}

/// Takes what would be printed, if a program listens.
pub(crate) fn hears(bytes: &[u8]) -> bool {
    HEARD
        .try_with(|heard| heard.borrow_mut().extend_from_slice(bytes))
        .is_ok()
}
