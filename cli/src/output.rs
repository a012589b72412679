//! Results: text for people, one JSON object for machines.

use serde_json::Value;

use crate::error::CliError;

/// Where results go.
pub(crate) struct Output {
    pub(crate) json: bool,
}

impl Output {
    /// Prints a result.
    pub(crate) fn result(&self, json: &Value, text: impl FnOnce() -> String) {
        if self.json {
            println!("{json}");
        } else {
            println!("{}", text());
        }
    }

    /// Says what is going on, to people only.
    pub(crate) fn say(&self, text: &str) {
        if !self.json {
            eprintln!("{text}");
        }
    }

    pub(crate) fn error(&self, error: &CliError) {
        if self.json {
            let json = serde_json::json!({
                "error": error.to_string(),
                "exit_code": error.exit_code(),
            });
            println!("{json}");
        } else {
            eprintln!("larder: {error}");
        }
    }
}

/// Bytes in the unit that a person reads them in.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KB", "MB", "GB", "TB"];
    if count < 1_000 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1_000.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if value >= 1_000.0 {
            value /= 1_000.0;
            unit = next;
        }
    }
    format!("{value:.1} {unit}")
}

/// Counts with separators between the thousands.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let texts = [0, 999, 1_000, 10_485_760, 2_500_000_000].map(bytes);
        assert_eq!(texts, ["0 B", "999 B", "1.0 KB", "10.5 MB", "2.5 GB"]);
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
    }
}
