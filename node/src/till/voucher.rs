//! Tokens for codes that the operator hands out: see [`larder_protocol::voucher`].
//!
//! A code is worth its tokens to whoever shows it first, once. Which were used the store knows,
//! under a name derived from the voucher's id: `SHA-256("larder/node/voucher" ‖ id 16)`.

use larder_protocol::Voucher;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{NoPayment, Order, Ordered, Till};
use crate::identity::Identity;

/// Takes vouchers made with this node's seed.
pub struct Vouchers {
    key: Zeroizing<[u8; 32]>,
}

impl Vouchers {
    /// A till for the vouchers of this node.
    #[must_use]
    pub fn new(identity: &Identity) -> Self {
        Vouchers {
            key: identity.voucher_key(),
        }
    }

    /// Makes a voucher worth so many tokens up to this moment, unix seconds. `id` is 16 random
    /// bytes.
    #[must_use]
    pub fn issue(&self, id: [u8; 16], tokens: u64, expires: u64) -> Voucher {
        Voucher::new(&self.key, id, tokens, expires)
    }
}

impl Till for Vouchers {
    fn order(&self, order: &Order<'_>) -> Result<Ordered, NoPayment> {
        let bytes = order.voucher.ok_or(NoPayment::NotTaken)?;
        let voucher = Voucher::decode(bytes).map_err(|_| NoPayment::BadVoucher)?;
        let asked = order.tokens.checked_mul(order.tags.len() as u64);
        if !voucher.genuine(&self.key) || asked != Some(voucher.tokens) {
            return Err(NoPayment::BadVoucher);
        }
        let name = Sha256::new_with_prefix("larder/node/voucher").chain_update(voucher.id);
        Ok(Ordered {
            payment: name.finalize().into(),
            request: String::new(),
            expires: voucher.expires,
            settled: true,
        })
    }

    fn name(&self) -> &'static str {
        "vouchers"
    }
}
