//! What Linux tells of this process's threads and memory.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;

/// CPU seconds by the name of a thread, without its number.
pub(crate) type Threads = BTreeMap<String, f64>;

/// What the threads that run now have used.
pub(crate) fn cpu() -> Result<Threads, Box<dyn Error>> {
    let mut threads = Threads::new();
    for task in fs::read_dir("/proc/self/task")? {
        // One may have ended since.
        let Ok(stat) = fs::read_to_string(task?.path().join("stat")) else {
            continue;
        };
        let (name, used) = used(&stat).ok_or("a stat that reads otherwise")?;
        *threads.entry(name).or_default() += used;
    }
    Ok(threads)
}

/// A thread's name and its CPU seconds: `123 (name-0) S …`, of which the 14th and the 15th are ticks
/// in user mode and in the kernel.
fn used(stat: &str) -> Option<(String, f64)> {
    let (name, rest) = stat.split_once(" (")?.1.rsplit_once(") ")?;
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
    let mut ticks = rest.split(' ').skip(11).take(2);
    let mut next = || ticks.next()?.parse::<u64>().ok();
    let ticks = next()? + next()?;
    let per_second = rustix::param::clock_ticks_per_second();
    Some((name.to_owned(), ticks as f64 / per_second as f64))
}

/// Lets the peak of the memory begin anew from what is used now.
pub(crate) fn forget_peak() -> std::io::Result<()> {
    fs::write("/proc/self/clear_refs", "5")
}
