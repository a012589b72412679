//! The answer to a core.
//!
//! | case | bytes |
//! | --- | --- |
//! | performed | `0`, status 1, issuance 328: 330 in all |
//! | not performed | the number of rows, `1` or `2`; then the rows, 578 each |
//!
//! The first is short because whoever can use it has the request, and a row repeats
//! nothing else. The second goes to a holder that may have nothing but its root.

use crate::bytes::Reader;
use crate::error::Malformed;
use crate::issuance::Issuance;
use crate::operation::Status;
use crate::row::Row;

/// What an issuer answers to a request that it does not refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// This very core was performed, now or earlier.
    Performed {
        /// How the operation ended.
        status: Status,
        /// The replacements.
        issuance: Box<Issuance>,
    },
    /// Something else was done with at least one credential of the pair: these are the
    /// distinct rows, one or two. *This* operation was not performed; a credential of the
    /// pair that is in none of them stays unspent.
    NotPerformed(Vec<Row>),
}

impl Reply {
    /// The answer to the core that made this row.
    #[must_use]
    pub fn performed(row: &Row) -> Self {
        Reply::Performed {
            status: row.status(),
            issuance: Box::new(row.issuance().clone()),
        }
    }

    /// The bytes that travel: 330, 579 or 1,157. A pair is consumed by two rows at most, so
    /// further ones are left out. No row at all is no reply, and nothing decodes it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Reply::Performed { status, issuance } => {
                let mut bytes = vec![0, status.0];
                bytes.extend_from_slice(&issuance.encode());
                bytes
            }
            Reply::NotPerformed(rows) => {
                let rows = &rows[..rows.len().min(2)];
                let mut bytes = vec![if rows.len() > 1 { 2 } else { 1 }];
                for row in rows {
                    bytes.extend_from_slice(&row.encode());
                }
                bytes
            }
        }
    }

    /// The reply in these bytes.
    ///
    /// # Errors
    ///
    /// Anything but exactly one reply.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let reply = match reader.u8()? {
            0 => Reply::Performed {
                status: Status(reader.u8()?),
                issuance: Box::new(Issuance::read(&mut reader)?),
            },
            1 => Reply::NotPerformed(vec![Row::read(&mut reader)?]),
            2 => Reply::NotPerformed(vec![Row::read(&mut reader)?, Row::read(&mut reader)?]),
            _ => return Err(Malformed::Value("the kind of reply")),
        };
        reader.end()?;
        Ok(reply)
    }
}
