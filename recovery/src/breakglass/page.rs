//! A page: what a restore needs that does not fit the cell.
//!
//! It is a blob of the primary store, sealed like any other, whose number the cell knows. Inside, as the
//! body of a blob of kind `Whole` (integers big-endian):
//!
//! | bytes | field |
//! | --- | --- |
//! | 1 | version, 1 |
//! | 4 | look-ups that a restore took when it was written, about |
//! | 1 | providers, `p` |
//! | p × (2 + n) | address of a provider, with its length in front |
//! | 1 | credentials, `c` |
//! | c × 108 | credentials |
//!
//! The credentials are those that the purse held beside the reserve. They pay for an operation only once a
//! transfer has replaced them, so that whoever shows them after a loss comes upon a reissue or
//! a transfer, and no operation.
//!
//! Each provider has a cell and pages of its own; the addresses say where the others are.

use larder_credentials::CREDENTIAL_BYTES;
use larder_protocol::{Address, Blob, BlobHash};

use crate::log::take;
use crate::purse::Held;
use crate::seal::{self, BODY_MAX, Contents, Kind};
use crate::{Lane, Purpose, Schedule, Slot};

const VERSION: u8 = 1;

/// Credentials that a page has room for beside the longest addresses it takes.
pub(crate) const CREDENTIALS_MAX: usize = 128;

/// Bytes that addresses may take, lengths included.
const ADDRESSES_MAX: usize = BODY_MAX - 1 - 4 - 1 - 1 - CREDENTIALS_MAX * CREDENTIAL_BYTES;

/// What a page says.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    /// Look-ups that a restore takes, about.
    pub(crate) lookups: u32,
    /// Where the wallet's data is, with all providers.
    pub(crate) providers: Vec<Address>,
    /// At most [`CREDENTIALS_MAX`].
    pub(crate) credentials: Vec<Held>,
}

/// Where the page of this number is.
pub(crate) fn slot(number: u64) -> Slot {
    Slot {
        purpose: Purpose::Breakglass,
        lane: Lane::default(),
        generation: 1,
        index: number,
    }
}

impl Page {
    /// The page as a blob. Addresses that do not fit are left out.
    pub(crate) fn seal(&self, schedule: &Schedule, number: u64) -> Blob {
        let mut body = Vec::with_capacity(BODY_MAX);
        self.encode(&mut body);
        seal::seal(
            schedule,
            &slot(number),
            &Contents {
                kind: Kind::Whole,
                writer: [0; 16],
                previous: BlobHash([0; 32]),
                body,
            },
        )
    }

    /// The page of this number; `None` when the blob is no page of ours.
    pub(crate) fn open(schedule: &Schedule, number: u64, blob: &Blob) -> Option<Self> {
        let contents = seal::open(schedule, &slot(number), blob).ok()?;
        (contents.kind == Kind::Whole)
            .then(|| Page::decode(&contents.body))
            .flatten()
    }

    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        to.push(VERSION);
        to.extend_from_slice(&self.lookups.to_be_bytes());
        let mut room = ADDRESSES_MAX;
        let addresses: Vec<String> = self.providers.iter().map(Address::to_string).collect();
        let fitting = addresses.iter().take_while(|address| {
            let fits = address.len() + 2 <= room;
            room = room.saturating_sub(address.len() + 2);
            fits
        });
        let fitting: Vec<&String> = fitting.take(u8::MAX.into()).collect();
        to.push(fitting.len() as u8);
        for address in fitting {
            to.extend_from_slice(&(address.len() as u16).to_be_bytes());
            to.extend_from_slice(address.as_bytes());
        }
        let credentials = &self.credentials[..self.credentials.len().min(CREDENTIALS_MAX)];
        to.push(credentials.len() as u8);
        for held in credentials {
            to.extend_from_slice(held.encode());
        }
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let [VERSION] = take(bytes)? else {
            return None;
        };
        let lookups = u32::from_be_bytes(take(bytes)?);
        let [count] = take(bytes)?;
        let address = |bytes: &mut &[u8]| {
            let len = u16::from_be_bytes(take(bytes)?);
            let text = bytes.split_off(..len.into())?;
            std::str::from_utf8(text).ok()?.parse().ok()
        };
        let providers = (0..count).map(|_| address(bytes)).collect::<Option<_>>()?;
        let [count] = take(bytes)?;
        let held = |bytes: &mut &[u8]| Held::decode(&take::<CREDENTIAL_BYTES>(bytes)?).ok();
        let credentials = (0..count).map(|_| held(bytes)).collect::<Option<_>>()?;
        bytes.is_empty().then_some(Page {
            lookups,
            providers,
            credentials,
        })
    }
}
