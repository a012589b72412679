//! `larderd`, as the tests start it.

use std::process::ExitCode;

fn main() -> ExitCode {
    larder_node::daemon::run(std::env::args_os())
}
