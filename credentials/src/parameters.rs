//! What an issuer publishes: parameters of its keys, and which of them are live (§2).
//!
//! | field of [`Parameters`] | bytes |
//! | --- | --- |
//! | epoch | 4 |
//! | `Cw = w·Gw + w'·Gw'` | 32 |
//! | `I = GV − (x0·Gx0 + x1·Gx1 + ya·Ga)` | 32 |

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::bytes::Reader;
use crate::epoch::Epoch;
use crate::error::{HolderError, Malformed};
use crate::group::Point;
use crate::relation::Shape;
use crate::service::Service;
use crate::statement::{issue_shape, spend_shape};

/// The size of one epoch's issuer parameters, in bytes.
pub const PARAMETERS_BYTES: usize = 68;

/// The public half of an [`IssuerKey`](crate::IssuerKey). Cheap to clone.
#[derive(Clone)]
pub struct Parameters(Arc<Inner>);

struct Inner {
    epoch: Epoch,
    Cw: Point,
    I: Point,
    spend: OnceLock<Shape>,
    issue: OnceLock<Shape>,
}

impl Parameters {
    pub(crate) fn new(epoch: Epoch, Cw: Point, I: Point) -> Self {
        Parameters(Arc::new(Inner {
            epoch,
            Cw,
            I,
            spend: OnceLock::new(),
            issue: OnceLock::new(),
        }))
    }

    /// Their epoch.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.0.epoch
    }

    /// The 68 bytes that are published.
    #[must_use]
    pub fn encode(&self) -> [u8; PARAMETERS_BYTES] {
        let mut bytes = [0; PARAMETERS_BYTES];
        bytes[..4].copy_from_slice(&self.0.epoch.0.to_le_bytes());
        bytes[4..36].copy_from_slice(&self.0.Cw.encoding);
        bytes[36..].copy_from_slice(&self.0.I.encoding);
        bytes
    }

    /// Parameters from exactly 68 bytes.
    ///
    /// # Errors
    ///
    /// Any other length, a point that is not canonical or is the identity.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let epoch = Epoch(reader.u32()?);
        let Cw = Point::decode(&reader.array()?)?;
        let I = Point::decode(&reader.array()?)?;
        reader.end()?;
        Ok(Parameters::new(epoch, Cw, I))
    }

    pub(crate) fn I(&self) -> &Point {
        &self.0.I
    }

    /// The statement of spending credentials of this epoch.
    pub(crate) fn spend(&self) -> &Shape {
        self.0.spend.get_or_init(|| spend_shape(self.0.I))
    }

    /// The statement of issuing credentials in this epoch.
    pub(crate) fn issue(&self) -> &Shape {
        self.0
            .issue
            .get_or_init(|| issue_shape(self.0.Cw, self.0.I))
    }
}

impl PartialEq for Parameters {
    fn eq(&self, other: &Self) -> bool {
        self.encode() == other.encode()
    }
}

impl Eq for Parameters {}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Parameters").field(&self.0.epoch).finish()
    }
}

/// The part of the service's parameter record that the proofs need: which service, which
/// epoch is current, and the parameters of all live epochs.
///
/// Everything in it has to be the same for every client (§9.2). Comparing copies fetched
/// over unrelated paths is the caller's job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    service: Service,
    current: Epoch,
    live: BTreeMap<Epoch, Parameters>,
}

impl Record {
    /// A record from the parameters of the current epoch and of the accepted earlier ones.
    ///
    /// # Errors
    ///
    /// Parameters of the current epoch are missing, or an epoch occurs twice or lies in
    /// the future.
    pub fn new(
        service: Service,
        current: Epoch,
        live: impl IntoIterator<Item = Parameters>,
    ) -> Result<Self, Malformed> {
        let mut epochs = BTreeMap::new();
        for parameters in live {
            let epoch = parameters.epoch();
            if epoch > current || epochs.insert(epoch, parameters).is_some() {
                return Err(Malformed::Value("the list of live epochs"));
            }
        }
        if !epochs.contains_key(&current) {
            return Err(Malformed::Value("the list of live epochs"));
        }
        Ok(Record {
            service,
            current,
            live: epochs,
        })
    }

    /// The service.
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// The epoch in which credentials are issued now.
    #[must_use]
    pub fn current(&self) -> Epoch {
        self.current
    }

    /// The parameters of a live epoch.
    ///
    /// # Errors
    ///
    /// The epoch is not live.
    pub fn parameters(&self, epoch: Epoch) -> Result<&Parameters, HolderError> {
        self.live
            .get(&epoch)
            .ok_or(HolderError::UnknownEpoch(epoch))
    }

    /// Leaves out what an issuer no longer accepts.
    pub(crate) fn close_before(&mut self, oldest: Epoch) {
        self.live.retain(|epoch, _| *epoch >= oldest);
    }

    /// The parameters of all live epochs, oldest first.
    pub fn live(&self) -> impl Iterator<Item = &Parameters> {
        self.live.values()
    }
}
