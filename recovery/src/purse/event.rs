//! What a purse writes down: one event an entry of its [journal](super::journal).
//!
//! The state of a purse is the sum of its events, in order. Integers are big-endian.
//!
//! | code | event | fields, bytes |
//! | --- | --- | --- |
//! | 1 | `Owner` | fingerprint of root key and storage node 16; always the first |
//! | 2 | `Counters` | next request 8, next claim 8, tokens expired 8 |
//! | 3 | `Terms` | signed record of an epoch, to the end |
//! | 4 | `Seen` | epoch 4, unix seconds 8 when this client first saw it |
//! | 5 | `Held` | credential 108 |
//! | 6 | `Sent` | id 8, ids as in `Dropped`, inputs, outputs in tokens 2 × 8, request to the end |
//! | 7 | `Settled` | id 8, the pair that came back 216; kept, if it is about a key |
//! | 8 | `Released` | id 8: it was refused; its inputs are unspent |
//! | 9 | `Healed` | id 8, serials that are spent 1 + 32 n, credentials that replace them 1 + 108 n |
//! | 10 | `Kept` | id 8, request to the end: settled, and its answer may not have been heard |
//! | 11 | `Dropped` | ids 1 + 8 n: kept requests that nobody will ask for |
//! | 12 | `Ordered` | first claim 8, claims 1, tokens of each 8, voucher to the end (none if empty) |
//! | 13 | `Quoted` | first claim 8, paid 1, expiry in unix seconds 8, payment request to the end |
//! | 14 | `Collected` | first claim 8, bit per claim that was collected 2 |
//! | 15 | `Closed` | first claim 8: given up, or refused for good |
//! | 16 | `Shown` | digest of the refused call it was shown for 32, credential 108 |
//! | 17 | `Breakglass` | a change of what a restore would find: see `change` |
//! | 18 | `Passes` | epoch 4, passes of it and of the next one 2 × 32 |
//! | 19 | `Contradicted` | length of the first of two signed records 4, both of them |
//! | 20 | `Pardoned` | –: what the storage node says from now on holds |
//!
//! Inputs are `0 ‖ pair 216`, or `1 ‖ first claim 8 ‖ which 1` for a purchase. A request is the body of its
//! envelope, with which a retry is the same bytes; what is needed to judge the answer is built
//! again from the inputs.

use larder_credentials::Reference;
use larder_protocol::{Pass, Quoted, Request, SignedRecord};
use zeroize::Zeroizing;

use super::change::Change;
use super::fields::{Fields, put, put_ids};
use super::held::Held;
use super::journal::Entry;
use super::passes::Passes;
use crate::contradiction::Contradiction;

/// What a request consumes.
#[derive(Debug, Clone)]
pub(crate) enum Inputs {
    Pair(Box<[Held; 2]>),
    Claim { order: u64, which: u8 },
}

impl Inputs {
    /// Whether a request that was refused has shown any of them.
    pub(super) fn are_shown(&self) -> bool {
        match self {
            Inputs::Pair(pair) => pair.iter().any(|held| held.shown.is_some()),
            Inputs::Claim { .. } => false,
        }
    }
}

/// One change of a purse.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Owner([u8; 16]),
    Counters {
        next_request: u64,
        next_claim: u64,
        expired: u64,
    },
    Terms(Box<SignedRecord>),
    Seen {
        epoch: u32,
        at: u64,
    },
    Held(Held),
    Sent {
        id: u64,
        /// Kept requests that need not be kept any more: said with this one, because a write of
        /// its own would cost as much again.
        dropped: Vec<u64>,
        inputs: Inputs,
        outputs: [u64; 2],
        request: Box<Request>,
    },
    Settled {
        id: u64,
        pair: [Held; 2],
    },
    Released {
        id: u64,
    },
    Healed {
        id: u64,
        spent: Vec<Reference>,
        gained: Vec<Held>,
    },
    Kept {
        id: u64,
        request: Box<Request>,
    },
    Dropped {
        ids: Vec<u64>,
    },
    Ordered {
        order: u64,
        claims: u8,
        each: u64,
        voucher: Option<Vec<u8>>,
    },
    Quoted {
        order: u64,
        quoted: Quoted,
    },
    Collected {
        order: u64,
        claims: u16,
    },
    Closed {
        order: u64,
    },
    Shown {
        digest: [u8; 32],
        held: Held,
    },
    Breakglass(Change),
    Passes(Passes),
    Contradicted(Box<Contradiction>),
    Pardoned,
}

impl Event {
    /// Requests that one event drops at most.
    pub(crate) const IDS: usize = u8::MAX as usize;

    /// A credential that is there.
    pub(crate) fn of(held: Held) -> Self {
        match held.shown {
            None => Event::Held(held),
            Some(digest) => Event::Shown { digest, held },
        }
    }

    pub(crate) fn encode(&self) -> Entry {
        let mut to = Zeroizing::new(Vec::with_capacity(512));
        match self {
            Event::Owner(fingerprint) => put(&mut to, 1, &[fingerprint]),
            Event::Counters {
                next_request,
                next_claim,
                expired,
            } => {
                let counters = [next_request, next_claim, expired].map(|n| n.to_be_bytes());
                put(&mut to, 2, &[counters.as_flattened()]);
            }
            Event::Terms(record) => put(&mut to, 3, &[&record.encode()]),
            Event::Seen { epoch, at } => {
                put(&mut to, 4, &[&epoch.to_be_bytes(), &at.to_be_bytes()]);
            }
            Event::Held(held) => put(&mut to, 5, &[held.encode()]),
            Event::Sent {
                id,
                dropped,
                inputs,
                outputs,
                request,
            } => {
                put(&mut to, 6, &[&id.to_be_bytes()]);
                put_ids(&mut to, dropped);
                match inputs {
                    Inputs::Pair(pair) => {
                        put(&mut to, 0, &[pair[0].encode(), pair[1].encode()]);
                    }
                    Inputs::Claim { order, which } => {
                        put(&mut to, 1, &[&order.to_be_bytes(), &[*which]]);
                    }
                }
                let outputs = outputs.map(u64::to_be_bytes);
                to.extend_from_slice(outputs.as_flattened());
                to.extend_from_slice(&request.encode());
            }
            Event::Settled { id, pair } => {
                let [first, second] = pair;
                put(
                    &mut to,
                    7,
                    &[&id.to_be_bytes(), first.encode(), second.encode()],
                );
            }
            Event::Released { id } => put(&mut to, 8, &[&id.to_be_bytes()]),
            Event::Healed { id, spent, gained } => {
                put(&mut to, 9, &[&id.to_be_bytes(), &[spent.len() as u8]]);
                spent.iter().for_each(|s| to.extend_from_slice(&s.0));
                to.push(gained.len() as u8);
                gained.iter().for_each(|h| to.extend_from_slice(h.encode()));
            }
            Event::Kept { id, request } => {
                put(&mut to, 10, &[&id.to_be_bytes(), &request.encode()]);
            }
            Event::Dropped { ids } => {
                put(&mut to, 11, &[]);
                put_ids(&mut to, ids);
            }
            Event::Ordered {
                order,
                claims,
                each,
                voucher,
            } => {
                let voucher = voucher.as_deref().unwrap_or_default();
                let (order, each) = (order.to_be_bytes(), each.to_be_bytes());
                put(&mut to, 12, &[&order, &[*claims], &each, voucher]);
            }
            Event::Quoted { order, quoted } => {
                let (order, expires) = (order.to_be_bytes(), quoted.expires.to_be_bytes());
                let paid = [u8::from(quoted.paid)];
                put(
                    &mut to,
                    13,
                    &[&order, &paid, &expires, quoted.request.as_bytes()],
                );
            }
            Event::Collected { order, claims } => {
                put(&mut to, 14, &[&order.to_be_bytes(), &claims.to_be_bytes()]);
            }
            Event::Closed { order } => put(&mut to, 15, &[&order.to_be_bytes()]),
            Event::Shown { digest, held } => put(&mut to, 16, &[digest, held.encode()]),
            Event::Breakglass(change) => {
                to.push(17);
                change.encode(&mut to);
            }
            Event::Passes(Passes { epoch, both }) => {
                let [now, next] = both.each_ref().map(Pass::as_bytes);
                put(&mut to, 18, &[&epoch.to_be_bytes(), now, next]);
            }
            Event::Contradicted(proof) => {
                let (one, other) = (proof.one.encode(), proof.other.encode());
                let len = (one.len() as u32).to_be_bytes();
                put(&mut to, 19, &[&len, &one, &other]);
            }
            Event::Pardoned => put(&mut to, 20, &[]),
        }
        to
    }

    /// Reads an entry; `None` when no purse of this version wrote it.
    pub(crate) fn decode(entry: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(entry);
        let event = match fields.u8()? {
            1 => Event::Owner(fields.array()?),
            2 => Event::Counters {
                next_request: fields.u64()?,
                next_claim: fields.u64()?,
                expired: fields.u64()?,
            },
            3 => Event::Terms(Box::new(SignedRecord::decode(fields.rest()).ok()?)),
            4 => Event::Seen {
                epoch: fields.u32()?,
                at: fields.u64()?,
            },
            5 => Event::Held(fields.held()?),
            6 => Event::Sent {
                id: fields.u64()?,
                dropped: fields.list(Fields::u64)?,
                inputs: match fields.u8()? {
                    0 => Inputs::Pair(Box::new(fields.pair()?)),
                    1 => Inputs::Claim {
                        order: fields.u64()?,
                        which: fields.u8()?,
                    },
                    _ => return None,
                },
                outputs: [fields.u64()?, fields.u64()?],
                request: Box::new(Request::decode(fields.rest()).ok()?),
            },
            7 => Event::Settled {
                id: fields.u64()?,
                pair: fields.pair()?,
            },
            8 => Event::Released { id: fields.u64()? },
            9 => Event::Healed {
                id: fields.u64()?,
                spent: fields.list(|fields| fields.array().map(Reference))?,
                gained: fields.list(Fields::held)?,
            },
            10 => Event::Kept {
                id: fields.u64()?,
                request: Box::new(Request::decode(fields.rest()).ok()?),
            },
            11 => Event::Dropped {
                ids: fields.list(Fields::u64)?,
            },
            12 => Event::Ordered {
                order: fields.u64()?,
                claims: fields.u8()?,
                each: fields.u64()?,
                voucher: match fields.rest() {
                    [] => None,
                    voucher => Some(voucher.to_vec()),
                },
            },
            13 => Event::Quoted {
                order: fields.u64()?,
                quoted: Quoted {
                    paid: fields.bool()?,
                    expires: fields.u64()?,
                    request: String::from_utf8(fields.rest().to_vec()).ok()?,
                },
            },
            14 => Event::Collected {
                order: fields.u64()?,
                claims: u16::from_be_bytes(fields.array()?),
            },
            15 => Event::Closed {
                order: fields.u64()?,
            },
            16 => Event::Shown {
                digest: fields.array()?,
                held: fields.held()?,
            },
            17 => Event::Breakglass(Change::decode(&mut fields)?),
            18 => Event::Passes(Passes {
                epoch: fields.u32()?,
                both: [fields.array()?, fields.array()?].map(Pass::from_bytes),
            }),
            19 => {
                let len = usize::try_from(fields.u32()?).ok()?;
                let (one, other) = fields.rest().split_at_checked(len)?;
                Event::Contradicted(Box::new(Contradiction {
                    one: SignedRecord::decode(one).ok()?,
                    other: SignedRecord::decode(other).ok()?,
                }))
            }
            20 => Event::Pardoned,
            _ => return None,
        };
        fields.is_empty().then_some(event)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_are_an_event_in_one_form_only_or_none(
            code in 0..22_u8,
            rest in proptest::collection::vec(0..3_u8, 0..80),
        ) {
            let entry = [&[code], &rest[..]].concat();
            if let Some(event) = Event::decode(&entry) {
                prop_assert_eq!(&*event.encode(), &entry);
            }
        }
    }

    #[test]
    fn what_a_purchase_writes_reads_back() {
        let quoted = Quoted {
            paid: true,
            expires: 7,
            request: "lnbc1".to_owned(),
        };
        for event in [
            Event::Ordered {
                order: 3,
                claims: 16,
                each: 50,
                voucher: Some(vec![1; 49]),
            },
            Event::Quoted { order: 3, quoted },
            Event::Collected {
                order: 3,
                claims: 0xffff,
            },
            Event::Closed { order: 3 },
        ] {
            let entry = event.encode();
            let read = Event::decode(&entry).map(|event| event.encode());
            assert_eq!(read, Some(entry.clone()));
            assert!(
                Event::decode(&[&entry[..], &[0]].concat()).is_none_or(|event| {
                    // What ends with text or bytes of any length takes them.
                    matches!(event, Event::Ordered { .. } | Event::Quoted { .. })
                })
            );
        }
    }
}
