//! How a request reaches a provider and its reply comes back.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// A future that may move between threads; `Transport` is used as a trait object.
pub type Exchange<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, Unreachable>> + Send + 'a>>;

/// A way to one provider. It may deliver a request more than once, and never says who asks.
pub trait Transport: Send + Sync {
    /// Sends the contents of one envelope, as often as it takes and always the same bytes, and
    /// returns the contents that came back.
    fn exchange(&self, contents: Vec<u8>) -> Exchange<'_>;
}

/// No answer came. Whether the request took effect is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreachable {
    /// What to look at, for a person.
    pub advice: String,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the storage node did not answer: {}", self.advice)
    }
}

impl std::error::Error for Unreachable {}
