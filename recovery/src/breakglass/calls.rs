//! Writing and opening a provider's cell.

use larder_protocol::{
    BreakglassOpen, BreakglassPut, Call, Cell, Done, Nonce, OpenedCell, Refusal,
};
use secp256k1::Keypair;

use crate::provider::unexpected;
use crate::{Provider, RecoveryError};

/// What a put came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutCell {
    /// The cell is stored, and no cell is doomed any more.
    Stored,
    /// A cell of this sequence, the same or a higher one, is stored: write a higher one.
    Stale(u64),
}

impl Provider {
    /// Writes the cell under the keypair's point, in the place of one of a lower sequence.
    ///
    /// # Errors
    /// [`RecoveryError`]; after `Unreachable` it may be written or not: write it again.
    pub async fn put_cell(
        &self,
        keypair: &Keypair,
        sequence: u64,
        cell: Cell,
    ) -> Result<PutCell, RecoveryError> {
        let hash = cell.hash();
        let put = BreakglassPut::sign(keypair, self.server_key(), sequence, cell);
        let call = Call::BreakglassPut(Box::new(put));
        match self.perform(call, Some(hash)).await?.0 {
            Ok(Done::CellStored) => Ok(PutCell::Stored),
            Err(Refusal::StaleSequence { current }) if current >= sequence => {
                Ok(PutCell::Stale(current))
            }
            Err(Refusal::StaleSequence { .. } | Refusal::BadSignature { .. }) => {
                Err(RecoveryError::Misbehaved(
                    "it refuses a cell that is signed and numbered as it should be",
                ))
            }
            other => Err(unexpected(other)),
        }
    }

    /// Opens the cell under the keypair's point, which costs nothing and dooms it: unless another one is
    /// written it is deleted after a time. `None` when there is none.
    ///
    /// # Errors
    /// [`RecoveryError`]; opening it again does not bring its end closer.
    pub async fn open_cell(&self, keypair: &Keypair) -> Result<Option<OpenedCell>, RecoveryError> {
        let nonce: Nonce = self.nonce();
        let open = BreakglassOpen::sign(keypair, self.server_key(), nonce);
        let call = Call::BreakglassOpen(open);
        match self.perform_with(call, None, Some(nonce)).await?.0 {
            Ok(Done::Cell(opened)) => Ok(Some(*opened)),
            Err(Refusal::Absent) => Ok(None),
            Err(Refusal::BadSignature { .. }) => Err(RecoveryError::Misbehaved(
                "it refuses to open a cell though that is signed as it should be",
            )),
            other => Err(unexpected(other)),
        }
    }
}
