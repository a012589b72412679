//! A page: what a restore needs that does not fit the cell.
//!
//! It is a blob of the primary store, sealed like any other, whose number the cell knows. Inside, as the
//! body of a blob of kind `Whole` (integers big-endian):
//!
//! | bytes | field |
//! | --- | --- |
//! | 1 | version, 1 |
//! | 8, 16 | how far the history was known to go: records, and the [chain](crate::log::point) behind them |
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
//! A storage node that shows a page and an older log than that is caught ([`Restore::check`](super::Restore::check)).
//!
//! Each provider has a cell and pages of its own; the addresses say where the others are.

use larder_credentials::CREDENTIAL_BYTES;
use larder_protocol::{Address, Blob, BlobHash};

use crate::log::{POINT_BYTES, Point, take};
use crate::purse::Held;
use crate::seal::{self, BODY_MAX, Contents, Kind};
use crate::{Lane, Purpose, Schedule, Slot};

const VERSION: u8 = 1;

/// Credentials that a page has room for beside the longest addresses it takes.
pub(crate) const CREDENTIALS_MAX: usize = 128;

/// Bytes that addresses may take, lengths included.
const ADDRESSES_MAX: usize =
    BODY_MAX - 1 - POINT_BYTES - 4 - 1 - 1 - CREDENTIALS_MAX * CREDENTIAL_BYTES;

/// What a page says.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    /// How far the history went.
    pub(crate) point: Point,
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

    /// What the root key wrote where a page is; `None` when that is none.
    pub(crate) fn of(contents: &Contents) -> Option<Self> {
        (contents.kind == Kind::Whole)
            .then(|| Page::decode(&contents.body))
            .flatten()
    }

    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        to.push(VERSION);
        to.extend_from_slice(&self.point.to_bytes());
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
        let point = Point::from_bytes(take(bytes)?);
        let lookups = u32::from_be_bytes(take(bytes)?);
        let [count] = take(bytes)?;
        let address = |bytes: &mut &[u8]| {
            let len = u16::from_be_bytes(take(bytes)?);
            let text = bytes.split_off(..len.into())?;
            std::str::from_utf8(text).ok()?.parse().ok()
        };
        let providers = (0..count).map(|_| address(bytes)).collect::<Option<_>>()?;
        let [count] = take(bytes)?;
        if usize::from(count) > CREDENTIALS_MAX {
            return None;
        }
        let held = |bytes: &mut &[u8]| Held::listed(&take::<CREDENTIAL_BYTES>(bytes)?);
        let credentials = (0..count).map(|_| held(bytes)).collect::<Option<_>>()?;
        bytes.is_empty().then_some(Page {
            point,
            lookups,
            providers,
            credentials,
        })
    }
}

#[cfg(test)]
mod tests {
    use larder_protocol::{NodeId, ServerKey};
    use secp256k1::{Keypair, PublicKey, SECP256K1, SecretKey};

    use super::*;
    use crate::RootKey;

    type Tested = Result<(), Box<dyn std::error::Error>>;

    fn point(byte: u8) -> Result<PublicKey, secp256k1::Error> {
        let secret = SecretKey::from_slice(&[byte; 32])?;
        Ok(Keypair::from_secret_key(SECP256K1, &secret).public_key())
    }

    fn page(credentials: usize, providers: u8) -> Result<Page, Box<dyn std::error::Error>> {
        let address = |n: u8| {
            let (server, node) = (ServerKey::from(point(n)?), NodeId::from(point(n + 100)?));
            Ok::<_, secp256k1::Error>(Address::new(server, node, vec![]))
        };
        Ok(Page {
            point: Point::from_bytes([3; POINT_BYTES]),
            lookups: 77,
            providers: (1..=providers).map(address).collect::<Result<_, _>>()?,
            credentials: vec![Held::stored(7, 9).ok_or("a credential")?; credentials],
        })
    }

    #[test]
    fn the_fullest_page_is_one_blob_that_opens_in_its_place_only() -> Tested {
        let schedule = Schedule::new(RootKey::from_bytes([1; 32]), ServerKey::from(point(1)?));
        let full = page(CREDENTIALS_MAX + 1, 99)?;
        let blob = full.seal(&schedule, 5);
        let open = |number| seal::open(&schedule, &slot(number), &blob);
        let opened = Page::of(&open(5)?).ok_or("our own")?;
        assert_eq!(
            (opened.lookups, opened.credentials.len()),
            (77, CREDENTIALS_MAX)
        );
        assert_eq!(opened.point, full.point);
        // Addresses that do not fit are left out from the end.
        let fitting = opened.providers.len();
        assert!((5..99).contains(&fitting));
        assert_eq!(opened.providers, full.providers[..fitting]);
        assert!(open(6).is_err());
        Ok(())
    }

    #[test]
    fn a_page_reads_back_and_no_part_or_more_of_it_does() -> Tested {
        let mut bytes = Vec::new();
        page(3, 2)?.encode(&mut bytes);
        let mut again = Vec::new();
        Page::decode(&bytes).ok_or("a page")?.encode(&mut again);
        assert_eq!(bytes, again);
        for len in 0..bytes.len() {
            assert!(Page::decode(&bytes[..len]).is_none(), "{len}");
        }
        bytes.push(0);
        assert!(Page::decode(&bytes).is_none());
        Ok(())
    }
}
