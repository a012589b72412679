//! What many records do: to memory, and to look-ups while an epoch is entered.
//!
//! The 16 KiB in a slot play no part in either, so the stores are sparse
//! ([`larder_store::suite::sparse`]). The numbers of records are far apart for memory, so that what
//! does not grow with them shows; a cache of 4 MiB holds a small part of the index of either.
//! Taken on two cores: 45 MiB for the fewer, 79 MiB for the more.

use std::path::Path;

use larder_store::suite::sparse::{enter_amid_look_ups, fill, open_and_use};

use super::{Failure, Task, apart, peak_mib};
use crate::report::{Bar, Report};

const FEW: u64 = 100_000;
const MANY: u64 = 1_000_000;

pub(super) fn run(report: &mut Report) -> Result<(), Failure> {
    let [few, many] = [FEW, MANY].map(|records| -> Result<f64, Failure> {
        let folder = tempfile::tempdir()?;
        fill(folder.path(), records);
        let folder = folder.path().to_owned();
        apart(&Task::OpenAndUse { folder, records })
    });
    let (few, many) = (few?, many?);
    report.value(&format!("engine: resident, {FEW} records"), few, "MiB");
    report.value(&format!("engine: resident, {MANY} records"), many, "MiB");
    let more = "engine: resident, for ten times as many records more";
    report.count(more, many - few, "MiB", Bar::AtMost(64.0));

    let folder = tempfile::tempdir()?;
    fill(folder.path(), FEW);
    let engine = open_and_use(folder.path(), FEW);
    let entered = enter_amid_look_ups(&engine, FEW);
    let ms = |duration: std::time::Duration| duration.as_secs_f64() * 1e3;
    let pause = ms(entered.pause);
    report.note(&format!(
        "entering an epoch of {FEW} records: commits wait, look-ups go on ({} were answered)",
        entered.look_ups
    ));
    report.value("engine: commits wait for an epoch", pause, "ms");
    let longest = "engine: the longest look-up meanwhile";
    report.ratio(
        longest,
        ms(entered.longest),
        "ms",
        ("that wait", pause),
        None,
    );
    Ok(())
}

/// What this process takes once it has been all over a store of so many records.
pub(super) fn resident_mib(folder: &Path, records: u64) -> Result<f64, Failure> {
    let _engine = open_and_use(folder, records);
    peak_mib()
}
