//! How figures are printed: a table for people, one JSON object per line for machines.

use std::process::{Command, ExitCode};
use std::time::Duration;

use cpu_time::ProcessTime;
use serde::Serialize;

/// What a set prints as it goes.
pub(crate) struct Report {
    json: bool,
    missed: usize,
}

/// The side of its bar on which a figure has to be.
#[derive(Clone, Copy)]
pub(crate) enum Bar {
    AtMost(f64),
    AtLeast(f64),
}

impl Bar {
    fn holds(self, ratio: f64) -> bool {
        match self {
            Bar::AtMost(bar) => ratio <= bar,
            Bar::AtLeast(bar) => ratio >= bar,
        }
    }

    fn text(self) -> String {
        match self {
            Bar::AtMost(bar) => format!("<= {bar}"),
            Bar::AtLeast(bar) => format!(">= {bar}"),
        }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    figure: &'a str,
    value: f64,
    unit: &'a str,
    yardstick: Option<&'a str>,
    ratio: Option<f64>,
    bar: Option<String>,
    holds: Option<bool>,
}

impl Report {
    /// Starts a report with what a reader needs to judge the figures.
    pub(crate) fn new(json: bool) -> Self {
        let about = [
            (
                "commit",
                first_line("git", &["rev-parse", "--short", "HEAD"]),
            ),
            ("rustc", first_line("rustc", &["--version"])),
            ("cpu", cpu_model()),
            (
                "cores",
                std::thread::available_parallelism()
                    .map_or(0, usize::from)
                    .to_string(),
            ),
        ];
        for (what, value) in about {
            if json {
                println!("{}", serde_json::json!({ "about": what, "value": value }));
            } else {
                println!("{what:>8}  {value}");
            }
        }
        if !json {
            println!();
        }
        Report { json, missed: 0 }
    }

    /// A free remark: sizes, seeds, what was varied.
    pub(crate) fn note(&self, text: &str) {
        if self.json {
            println!("{}", serde_json::json!({ "note": text }));
        } else {
            println!("# {text}");
        }
    }

    /// A plain measurement or count, with nothing to compare it to.
    pub(crate) fn value(&mut self, figure: &str, value: f64, unit: &str) {
        self.line(&Line {
            figure,
            value,
            unit,
            yardstick: None,
            ratio: None,
            bar: None,
            holds: None,
        });
    }

    /// A count that has a bar of its own.
    pub(crate) fn count(&mut self, figure: &str, value: f64, unit: &str, bar: Bar) {
        let holds = bar.holds(value);
        self.missed += usize::from(!holds);
        self.line(&Line {
            figure,
            value,
            unit,
            yardstick: None,
            ratio: None,
            bar: Some(bar.text()),
            holds: Some(holds),
        });
    }

    /// A measurement as a multiple of a yardstick taken in the same run and unit.
    pub(crate) fn ratio(
        &mut self,
        figure: &str,
        value: f64,
        unit: &str,
        (yardstick, measured): (&str, f64),
        bar: Option<Bar>,
    ) {
        let ratio = value / measured;
        let holds = bar.map(|bar| bar.holds(ratio));
        self.missed += usize::from(holds == Some(false));
        self.line(&Line {
            figure,
            value,
            unit,
            yardstick: Some(yardstick),
            ratio: Some(ratio),
            bar: bar.map(Bar::text),
            holds,
        });
    }

    fn line(&self, line: &Line<'_>) {
        if self.json {
            println!("{}", serde_json::json!(line));
            return;
        }
        let against = match (line.yardstick, line.ratio) {
            (Some(yardstick), Some(ratio)) => format!("{ratio:8.2} x {yardstick}"),
            _ => String::new(),
        };
        let verdict = match (&line.bar, line.holds) {
            (Some(bar), Some(true)) => format!("bar {bar}: holds"),
            (Some(bar), Some(false)) => format!("bar {bar}: MISSED"),
            _ => String::new(),
        };
        println!(
            "{:<52} {:>12.2} {:<12} {against:<34} {verdict}",
            line.figure, line.value, line.unit
        );
    }

    /// Ends the report; says how many bars were missed, if any, and fails then.
    pub(crate) fn finish(self) -> ExitCode {
        if self.missed == 0 {
            return ExitCode::SUCCESS;
        }
        self.note(&format!("{} bar(s) missed", self.missed));
        ExitCode::FAILURE
    }
}

/// Median, lowest and highest of some samples (of which there is at least one).
pub(crate) fn spread(samples: &mut [f64]) -> (f64, f64, f64) {
    samples.sort_by(f64::total_cmp);
    (
        samples[samples.len() / 2],
        samples[0],
        samples[samples.len() - 1],
    )
}

/// CPU time this process spends in `work`, all threads together.
pub(crate) fn cpu_of(work: impl FnOnce()) -> Duration {
    let start = ProcessTime::now();
    work();
    start.elapsed()
}

fn first_line(program: &str, args: &[&str]) -> String {
    Command::new(program)
        .args(args)
        .output()
        .ok()
        .and_then(|out| String::from_utf8(out.stdout).ok())
        .and_then(|text| text.lines().next().map(str::to_owned))
        .unwrap_or_else(|| "unknown".to_owned())
}

fn cpu_model() -> String {
    std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        })
        .unwrap_or_else(|| "unknown".to_owned())
}
