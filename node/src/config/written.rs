//! The keys as they are written, and what each may be.
//!
//! **Fails** with the key at fault and what it may be instead.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use larder_protocol::record::Prices;
use serde::Deserialize;
use toml::Table;

use super::layers::wrong;
use super::{Config, Payment, TillKind};
use crate::offer::Offer;
use crate::{Breakglass, NodeError};

/// Where what is wrong was found, once all layers are one.
const ORIGIN: &str = "configuration";

/// The keys as they are written.
#[derive(Deserialize)]
pub(super) struct Written {
    data_dir: String,
    listen: String,
    lsps: Vec<String>,
    payment: String,
    breakglass_seconds: i64,
    log_level: String,
    log_format: String,
    credentials: WrittenCredentials,
    prices: WrittenPrices,
    store: WrittenStore,
    limits: WrittenLimits,
}

#[derive(Deserialize)]
struct WrittenCredentials {
    epoch_seconds: i64,
    earlier_epochs: i64,
    till: String,
    open_claims: i64,
}

#[derive(Deserialize)]
struct WrittenPrices {
    insert: i64,
    lookup: i64,
    delete: i64,
    breakglass: i64,
    transfer: i64,
    refunds: Vec<i64>,
    denominations: Vec<i64>,
}

#[derive(Deserialize)]
struct WrittenStore {
    cache_mib: i64,
    free_space_floor_mib: i64,
}

#[derive(Deserialize)]
struct WrittenLimits {
    workers: i64,
    writes_in_flight: i64,
    opens_per_second: i64,
    inbound_peers: i64,
}

impl Written {
    /// Reads what the layers come to.
    pub(super) fn read(table: Table) -> Result<Self, NodeError> {
        let written = table.try_into();
        written.map_err(|error| wrong(ORIGIN, format!("{error}").trim_end()))
    }

    /// The configuration, if all keys are within what they may be and in agreement. `data_dir` says
    /// which folder is meant by what is written.
    pub(super) fn checked(
        self,
        data_dir: impl FnOnce(&str) -> Result<PathBuf, NodeError>,
    ) -> Result<Config, NodeError> {
        let parse = |what: &str, text: &str| format!("`{text}` is no value for {what}");
        let one_of = |what: &str, text: &str, values: &str| {
            wrong(ORIGIN, format!("{}: take {values}", parse(what, text)))
        };
        let till = match self.credentials.till.as_str() {
            "voucher" => TillKind::Voucher,
            "instant" => TillKind::Instant,
            other => return Err(one_of("credentials.till", other, "voucher or instant")),
        };
        let payment = match self.payment.as_str() {
            "none" => Payment::None,
            "credentials" => Payment::Credentials(till),
            other => return Err(one_of("payment", other, "credentials or none")),
        };
        let offer = offer(&self.credentials, &self.prices)?;
        let open_claims = bounded(
            "credentials.open_claims",
            self.credentials.open_claims,
            1..=1_000_000,
        )?;
        let lsps = self
            .lsps
            .iter()
            .map(|text| {
                text.parse()
                    .map_err(|error| wrong("lsps", format!("`{text}`: {error}")))
            })
            .collect::<Result<_, _>>()?;
        let log_level = match self.log_level.as_str() {
            "error" => tracing::Level::ERROR,
            "warn" => tracing::Level::WARN,
            "info" => tracing::Level::INFO,
            "debug" => tracing::Level::DEBUG,
            other => return Err(one_of("log_level", other, "error, warn, info or debug")),
        };
        let log_json = match self.log_format.as_str() {
            "text" => false,
            "json" => true,
            other => return Err(one_of("log_format", other, "text or json")),
        };
        let (store, limits) = (&self.store, &self.limits);
        let workers = match bounded("limits.workers", limits.workers, 0..=1_024)? {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers as usize,
        };
        let writes = bounded(
            "limits.writes_in_flight",
            limits.writes_in_flight,
            1..=65_536,
        )?;
        let breakglass = Breakglass {
            seconds: bounded(
                "breakglass_seconds",
                self.breakglass_seconds,
                60..=30 * 24 * 60 * 60,
            )? as u32,
            opens_per_second: bounded(
                "limits.opens_per_second",
                limits.opens_per_second,
                1..=65_536,
            )? as u32,
        };
        let peers = bounded("limits.inbound_peers", limits.inbound_peers, 1..=65_536)?;
        // More than a disk or a memory has, and far from what a number can hold.
        let mib = |key, value| bounded(key, value, 0..=1 << 30).map(|mib| mib << 20);
        Ok(Config {
            data_dir: data_dir(&self.data_dir)?,
            listen: self
                .listen
                .parse()
                .map_err(|_| wrong(ORIGIN, parse("listen (ip:port)", &self.listen)))?,
            lsps,
            payment,
            offer,
            breakglass,
            open_claims: open_claims as usize,
            log_level,
            log_json,
            cache_bytes: mib("store.cache_mib", store.cache_mib)?,
            free_space_floor: mib("store.free_space_floor_mib", store.free_space_floor_mib)?,
            workers,
            writes_in_flight: writes as usize,
            inbound_peers: peers as usize,
            new_store: false,
            trust_clock: false,
            passed_over: None,
        })
    }
}

/// Prices and the like, each within what it can be and all of them in agreement.
fn offer(credentials: &WrittenCredentials, prices: &WrittenPrices) -> Result<Offer, NodeError> {
    let year = 365 * 24 * 60 * 60;
    let epoch_seconds = bounded(
        "credentials.epoch_seconds",
        credentials.epoch_seconds,
        60..=year,
    )?;
    let earlier = bounded(
        "credentials.earlier_epochs",
        credentials.earlier_epochs,
        1..=16,
    )?;
    let tokens = |key: &str, tokens| bounded(key, tokens, 0..=i64::MAX);
    let list = |key: &str, list: &[i64]| -> Result<Vec<u64>, NodeError> {
        list.iter().map(|item| tokens(key, *item)).collect()
    };
    let offer = Offer {
        epoch_seconds: epoch_seconds as u32,
        earlier_epochs: earlier as u32,
        prices: Prices {
            insert: tokens("prices.insert", prices.insert)?,
            lookup: tokens("prices.lookup", prices.lookup)?,
            delete: tokens("prices.delete", prices.delete)?,
            breakglass: tokens("prices.breakglass", prices.breakglass)?,
            transfer: tokens("prices.transfer", prices.transfer)?,
        },
        refunds: list("prices.refunds", &prices.refunds)?,
        denominations: list("prices.denominations", &prices.denominations)?,
    };
    match offer.fault() {
        None => Ok(offer),
        Some(fault) => Err(wrong(ORIGIN, fault)),
    }
}

/// A number that is within what its key may be.
fn bounded(key: &str, value: i64, range: RangeInclusive<i64>) -> Result<u64, NodeError> {
    match u64::try_from(value) {
        Ok(number) if range.contains(&value) => Ok(number),
        _ => {
            let (least, most) = range.into_inner();
            let text = format!("`{key}` must be from {least} to {most}, not {value}");
            Err(wrong(ORIGIN, text))
        }
    }
}
