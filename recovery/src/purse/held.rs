//! A credential as the purse holds it: its stored form, and what the purse has to know of it.

use std::fmt;

use larder_credentials::{
    CREDENTIAL_BYTES, Credential, Epoch, HolderError, Malformed, Reference, Unspent,
};
use zeroize::Zeroizing;

/// What a credential is set aside for, and so what may be done with it
/// ([`breakglass`](crate::breakglass)). A reissue passes it on, a transfer takes it off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(u8)]
pub(crate) enum Mark {
    /// Nothing: it pays for anything.
    #[default]
    Free = 0,
    /// A page lists it: it pays once a transfer has replaced it.
    Listed = 1,
    /// The next cell holds it, and maybe the newest one: it pays for nothing.
    Next = 2,
    /// Only a cell holds it that is stored or may be, or held what it was reissued from: it pays for
    /// nothing.
    Reserve = 3,
    /// Another copy of this purse has it, made of what this one held: it is that one's, and is shown by this
    /// one only when the user says that the other one is gone.
    Elsewhere = 4,
}

impl Mark {
    pub(crate) fn of(code: u8) -> Option<Self> {
        match code {
            0 => Some(Mark::Free),
            1 => Some(Mark::Listed),
            2 => Some(Mark::Next),
            3 => Some(Mark::Reserve),
            4 => Some(Mark::Elsewhere),
            _ => None,
        }
    }

    /// Whether it pays for nothing.
    pub(crate) fn is_kept(self) -> bool {
        self >= Mark::Next
    }

    /// Whether it is kept for a restore.
    pub(crate) fn is_reserve(self) -> bool {
        matches!(self, Mark::Next | Mark::Reserve)
    }
}

/// Tokens of one credential in a cell or a page, at most.
const AMOUNT_MAX: u64 = 1 << 48;

/// One credential that may be spent.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) epoch: Epoch,
    /// In tokens.
    pub(crate) amount: u64,
    pub(crate) serial: Reference,
    /// The digest of the call that it was shown for last, when that was refused.
    pub(crate) shown: Option<[u8; 32]>,
    pub(crate) mark: Mark,
    bytes: Zeroizing<[u8; CREDENTIAL_BYTES]>,
}

impl Held {
    pub(crate) fn new(credential: &Credential) -> Self {
        Held {
            epoch: credential.epoch(),
            amount: credential.amount(),
            serial: credential.serial(),
            shown: None,
            mark: Mark::Free,
            bytes: credential.encode(),
        }
    }

    /// Both credentials of a pair.
    pub(crate) fn of(pair: &Unspent) -> [Held; 2] {
        let [first, second] = pair.credentials();
        [Held::new(first), Held::new(second)]
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        Credential::decode(bytes).map(|credential| Held::new(&credential))
    }

    /// One that a cell or a page lists. What that says is bounded, so that sums of it are numbers.
    pub(crate) fn listed(bytes: &[u8]) -> Option<Self> {
        let held = Held::decode(bytes).ok()?;
        (held.amount <= AMOUNT_MAX).then_some(held)
    }

    /// Whether showing them together ties no two keys to each other.
    pub(crate) fn goes_with(&self, other: &Held) -> bool {
        let calls = self.shown.zip(other.shown);
        calls.is_none_or(|(one, another)| one == another)
    }

    /// One that is good for arithmetic only.
    #[cfg(test)]
    pub(crate) fn worth(epoch: Epoch, amount: u64) -> Self {
        Held {
            epoch,
            amount,
            serial: Reference([0; 32]),
            shown: None,
            mark: Mark::Free,
            bytes: Zeroizing::new([0; CREDENTIAL_BYTES]),
        }
    }

    /// One that can be written and read, as any scalars and points do: whether a MAC is good shows
    /// when it is presented.
    #[cfg(test)]
    pub(crate) fn stored(epoch: u8, amount: u8) -> Option<Self> {
        const POINT: &str = "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76";
        let mut bytes = [0; CREDENTIAL_BYTES];
        (bytes[0], bytes[4]) = (epoch, amount);
        (bytes[12], bytes[44]) = (amount + 1, amount + 2);
        hex::decode_to_slice(POINT, &mut bytes[76..]).ok()?;
        Held::decode(&bytes).ok()
    }

    pub(crate) fn encode(&self) -> &[u8; CREDENTIAL_BYTES] {
        &self.bytes
    }
}

/// Two credentials as a pair that can be presented.
pub(crate) fn pair(two: &[Held; 2]) -> Result<Unspent, HolderError> {
    let stored = |held: &Held| Credential::decode(&*held.bytes).map_err(HolderError::Stored);
    Unspent::new([stored(&two[0])?, stored(&two[1])?])
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held(..)")
    }
}
