//! Values laid over one another: the defaults, a file, the environment.
//!
//! `default.toml` is the one list of keys: what is laid over it may only have keys that it has,
//! each of the type that it has there.

use std::ffi::OsString;

use toml::{Table, Value};

use crate::NodeError;

/// The commented defaults, as `larderd config print` shows them.
pub const DEFAULTS: &str = include_str!("../default.toml");

/// Environment variables that set keys begin like this.
const ENV_PREFIX: &str = "LARDERD_";

pub(super) fn defaults() -> Table {
    #[expect(
        clippy::expect_used,
        reason = "the file is part of the program, and a test reads it"
    )]
    DEFAULTS.parse().expect("default.toml is TOML")
}

/// Replaces values of `table` by those of `over`, which may only have keys that are there.
pub(super) fn lay_over(
    table: &mut Table,
    over: &Table,
    path: &str,
    origin: &str,
) -> Result<(), NodeError> {
    for (key, value) in over {
        let known: Vec<String> = table.keys().cloned().collect();
        match (table.get_mut(key), value) {
            (Some(Value::Table(inner)), Value::Table(over)) => {
                lay_over(inner, over, &format!("{path}{key}."), origin)?;
            }
            (Some(old), value) if old.same_type(value) => *old = value.clone(),
            (Some(old), value) => {
                let (wanted, got) = (old.type_str(), value.type_str());
                return Err(wrong(
                    origin,
                    format!("`{path}{key}` takes {wanted}, not {got}"),
                ));
            }
            (None, _) => {
                let nearest = nearest(key, known.iter().map(String::as_str));
                let text =
                    format!("there is no key `{path}{key}`; did you mean `{path}{nearest}`?");
                return Err(wrong(origin, text));
            }
        }
    }
    Ok(())
}

/// Turns `LARDERD_STORE_CACHE_MIB=64` into `store.cache_mib = 64`, of the type that the default has.
pub(super) fn read_environment(
    to: &mut Table,
    defaults: &Table,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(), NodeError> {
    let mut known: Vec<(String, Option<&str>, &str, &Value)> = Vec::new();
    for (key, value) in defaults {
        match value {
            Value::Table(inner) => known.extend(inner.iter().map(|(inner_key, value)| {
                (
                    format!("{key}_{inner_key}").to_uppercase(),
                    Some(&**key),
                    &**inner_key,
                    value,
                )
            })),
            value => known.push((key.to_uppercase(), None, key, value)),
        }
    }
    for (name, text) in environment {
        // Variables that are none of ours may be in any encoding.
        let name = name.to_string_lossy();
        let Some(rest) = name.strip_prefix(ENV_PREFIX) else {
            continue;
        };
        let Ok(text) = text.into_string() else {
            return Err(wrong(&name, "its value is not UTF-8"));
        };
        let Some((_, section, key, default)) = known.iter().find(|known| known.0 == rest) else {
            if is_foreign(rest, &text) {
                continue;
            }
            let nearest = nearest(rest, known.iter().map(|known| known.0.as_str()));
            let text = format!("nothing is set by it; did you mean {ENV_PREFIX}{nearest}?");
            return Err(wrong(&name, text));
        };
        // What a compose file leaves empty nobody has set. An empty list is one.
        if text.is_empty() && !default.is_array() {
            continue;
        }
        let value = match default {
            Value::Integer(_) => Value::Integer(
                text.parse()
                    .map_err(|_| wrong(&name, format!("`{text}` is not a number")))?,
            ),
            Value::Array(default) => {
                let numbers = matches!(default.first(), Some(Value::Integer(_)));
                let item = |item: &str| match (numbers, item.parse()) {
                    (false, _) => Ok(Value::String(item.to_owned())),
                    (true, Ok(number)) => Ok(Value::Integer(number)),
                    (true, Err(_)) => Err(wrong(&name, format!("`{item}` is not a number"))),
                };
                let items = text.split(',').map(str::trim);
                let items = items.filter(|text| !text.is_empty()).map(item);
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            _ => Value::String(text),
        };
        let table = match section {
            None => &mut *to,
            Some(section) => {
                let entry = to
                    .entry(*section)
                    .or_insert_with(|| Value::Table(Table::new()));
                match entry {
                    Value::Table(table) => table,
                    _ => continue,
                }
            }
        };
        table.insert((*key).to_owned(), value);
    }
    Ok(())
}

/// Whether a container platform sets such a variable, for a service or another container whose name begins with ours: Kubernetes for each
/// service in the namespace, Docker for links, with all that is set in the other container as `ENV`. `rest` is what follows our prefix.
fn is_foreign(rest: &str, value: &str) -> bool {
    let is_url = ["tcp://", "udp://", "sctp://"]
        .iter()
        .any(|scheme| value.starts_with(scheme));
    let words: Vec<&str> = rest.split('_').collect();
    let ends = |end: &[&str]| words.ends_with(end);
    let is_protocol = |word: &str| matches!(word, "TCP" | "UDP" | "SCTP");
    // PORT_9735_TCP, and PROTO, PORT or ADDR of it.
    let of_port = |words: &[&str]| match words {
        [.., "PORT", number, protocol] => is_protocol(protocol) && number.parse::<u16>().is_ok(),
        _ => false,
    };
    let part_of_port = match words.split_last() {
        Some((&("PROTO" | "PORT" | "ADDR"), words)) => of_port(words),
        _ => false,
    };
    words.contains(&"ENV")
        || ends(&["SERVICE", "HOST"])
        || words.windows(2).any(|two| two == ["SERVICE", "PORT"])
        || (ends(&["PORT"]) && is_url)
        || of_port(&words)
        || part_of_port
        || (ends(&["NAME"]) && value.starts_with('/'))
}

fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> &'a str {
    known
        .min_by_key(|known| strsim::damerau_levenshtein(known, key))
        .unwrap_or_default()
}

pub(super) fn wrong(origin: &str, problem: impl Into<String>) -> NodeError {
    NodeError::Config {
        origin: origin.to_owned(),
        problem: problem.into(),
    }
}
