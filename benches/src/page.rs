//! From figures to a page: one Markdown table and a plot of every ratio against its bar.
//!
//! Reads the lines that `--json` prints, of any number of sets one after the other.

use std::error::Error;
use std::fmt::Write as _;
use std::io::BufRead;
use std::path::Path;

use serde_json::Value;

/// A figure that has a yardstick.
struct Ratio {
    figure: String,
    ratio: f64,
    bar: Option<f64>,
    holds: bool,
}

/// Writes `benchmarks.md` and `benchmarks.svg` into `folder` from the lines of `input`.
pub(crate) fn write(input: impl BufRead, folder: &Path) -> Result<(), Box<dyn Error>> {
    let (mut page, mut ratios) = (String::from("# Benchmarks\n"), Vec::new());
    let mut in_table = false;
    for line in input.lines() {
        let line: Value = serde_json::from_str(&line?)?;
        let text = |key: &str| line[key].as_str().unwrap_or_default();
        if !text("figure").is_empty() {
            if !in_table {
                page += "\n| figure | value | unit | against | bar | |\n";
                page += "| --- | ---: | --- | --- | --- | --- |\n";
                in_table = true;
            }
            page += &row(&line);
            ratios.extend(ratio(&line));
            continue;
        }
        in_table = false;
        if !text("about").is_empty() {
            write!(page, "\n* {}: {}", text("about"), text("value"))?;
        } else if !text("note").is_empty() {
            write!(page, "\n\n{}\n", text("note"))?;
        }
    }
    page += "\n![every ratio against its bar](benchmarks.svg)\n";
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("benchmarks.md"), page)?;
    std::fs::write(folder.join("benchmarks.svg"), plot(&ratios))?;
    Ok(())
}

fn row(line: &Value) -> String {
    let text = |key: &str| line[key].as_str().unwrap_or_default();
    let against = match line["ratio"].as_f64() {
        Some(ratio) => format!("{ratio:.2} x {}", text("yardstick")),
        None => String::new(),
    };
    let verdict = match line["holds"].as_bool() {
        Some(true) => "holds",
        Some(false) => "**missed**",
        None => "",
    };
    format!(
        "| {} | {:.2} | {} | {against} | {} | {verdict} |\n",
        text("figure"),
        line["value"].as_f64().unwrap_or_default(),
        text("unit"),
        text("bar"),
    )
}

fn ratio(line: &Value) -> Option<Ratio> {
    let bar = line["bar"]
        .as_str()
        .and_then(|bar| bar.get(3..)?.parse().ok());
    Some(Ratio {
        figure: line["figure"].as_str()?.to_owned(),
        ratio: line["ratio"].as_f64()?,
        bar,
        holds: line["holds"].as_bool().unwrap_or(true),
    })
}

/// One line per ratio, as long as the ratio in parts of the largest of it and its bar; the bar is
/// a tick.
fn plot(ratios: &[Ratio]) -> String {
    const LINE: usize = 22;
    const LEFT: f64 = 430.0;
    const WIDTH: f64 = 360.0;
    let height = ratios.len() * LINE + 10;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"900\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n"
    );
    for (at, ratio) in ratios.iter().enumerate() {
        let y = at * LINE + 5;
        let scale = WIDTH / ratio.ratio.max(ratio.bar.unwrap_or_default());
        let colour = if ratio.holds { "#4a7" } else { "#c44" };
        let name = ratio.figure.replace('&', "&amp;").replace('<', "&lt;");
        let length = ratio.ratio * scale;
        let _ = writeln!(
            svg,
            "<text x=\"420\" y=\"{}\" text-anchor=\"end\">{name}</text>\
             <rect x=\"{LEFT}\" y=\"{y}\" width=\"{length:.1}\" height=\"14\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{}\">{:.2}</text>",
            y + 12,
            LEFT + WIDTH + 12.0,
            y + 12,
            ratio.ratio,
        );
        if let Some(bar) = ratio.bar {
            let x = LEFT + bar * scale;
            let _ = writeln!(
                svg,
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{}\" stroke=\"#222\"/>",
                y - 2,
                y + 16,
            );
        }
    }
    svg + "</svg>\n"
}
