//! The one error of constructing a fixed-size value from bytes.

/// Bytes that are not a value of the type they were offered to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBytes {
    /// The wrong number of bytes.
    #[error("{what} is {expected} bytes, not {got}")]
    Length {
        /// The type that was asked for.
        what: &'static str,
        /// The only length it has, in bytes.
        expected: usize,
        /// The length that was offered, in bytes.
        got: usize,
    },
    /// 33 bytes that are not the compressed encoding of a point on secp256k1.
    #[error("{what} has to be a compressed secp256k1 point, and these bytes are none")]
    NotAPoint {
        /// The type that was asked for.
        what: &'static str,
    },
    /// Text that is not the right number of hexadecimal digits.
    #[error("expected {hex_digits} hexadecimal digits")]
    NotHex {
        /// The only number of digits that fits.
        hex_digits: usize,
    },
}
