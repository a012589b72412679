//! Results: text for people, one JSON object for machines.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::error::CliError;

/// Where results go.
pub(crate) struct Output {
    /// Exactly one JSON object to standard output, whatever happens.
    pub(crate) json: bool,
}

/// Things that several parts of a command may come to say, and that are said once, to people only.
#[derive(Clone, Default)]
pub(crate) struct Once {
    said: Arc<Mutex<BTreeSet<String>>>,
    is_silent: bool,
}

impl Once {
    pub(crate) fn new(json: bool) -> Self {
        Once {
            is_silent: json,
            ..Once::default()
        }
    }

    pub(crate) fn say(&self, text: String) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_silent && !said.contains(&text) {
            note(&text);
            said.insert(text);
        }
    }
}

impl Output {
    /// Prints a result.
    ///
    /// # Errors
    /// When it could not be printed, as on a full disk. That nobody reads it is no error: what
    /// the result is about has been done.
    pub(crate) fn result(
        &self,
        json: &Value,
        text: impl FnOnce() -> String,
    ) -> Result<(), CliError> {
        if self.json {
            print(format!("{json}\n").as_bytes())
        } else {
            print(format!("{}\n", text()).as_bytes())
        }
    }

    /// Prints a result that falls short, which is one JSON object all the same; always an error.
    pub(crate) fn shortfall(
        &self,
        json: Value,
        text: impl FnOnce() -> String,
        error: CliError,
    ) -> Result<(), CliError> {
        let json = merged(json, error_object(&error));
        self.result(&json, text)?;
        match self.json {
            true => Err(CliError::Told(Box::new(error))),
            false => Err(error),
        }
    }

    /// Says what is going on, to people only.
    pub(crate) fn say(&self, text: &str) {
        if !self.json {
            note(text);
        }
    }

    /// Prints why a command failed, unless its result did; returns the exit code.
    pub(crate) fn error(&self, error: &CliError) -> ExitCode {
        match error {
            CliError::Told(_) => {}
            error if self.json => {
                // There is nowhere else to say that this could not be said.
                let _ = print(format!("{}\n", error_object(error)).as_bytes());
            }
            error => note(&format!("larder: {error}")),
        }
        ExitCode::from(error.exit_code())
    }
}

/// Writes to standard output, all the way.
pub(crate) fn print(bytes: &[u8]) -> Result<(), CliError> {
    #[cfg(feature = "bench")]
    if crate::bench::hears(bytes) {
        return Ok(());
    }
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CliError::file("write", Path::new("standard output"))(error))
        }
        _ => Ok(()),
    }
}

/// Writes a line to standard error.
pub(crate) fn note(text: &str) {
    #[cfg(feature = "bench")]
    if crate::bench::hears(text.as_bytes()) {
        return;
    }
    // Without standard error there is nobody to tell.
    let _ = writeln!(io::stderr(), "{text}");
}

fn error_object(error: &CliError) -> Value {
    let object = json!({ "error": error.to_string(), "exit_code": error.exit_code() });
    match error {
        CliError::OutOfTokens { needed, held } => {
            let missing = needed.saturating_sub(*held);
            let tokens = json!({ "needed": needed, "held": held, "missing": missing });
            merged(object, tokens)
        }
        CliError::Conflict {
            name,
            version,
            exists,
        } => merged(
            object,
            json!({ "name": name, "version": version, "exists": exists }),
        ),
        _ => object,
    }
}

/// One object with the members of both.
pub(crate) fn merged(mut object: Value, more: Value) -> Value {
    if let (Value::Object(object), Value::Object(more)) = (&mut object, more) {
        object.extend(more);
    }
    object
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
