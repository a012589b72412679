//! The state of a purse: the sum of its [events](super::event), and nothing that is not in them.

use std::collections::BTreeMap;

use larder_credentials::{Epoch, Reference};
use larder_protocol::{Call, Request, ServerKey};

use super::cells::Cells;
use super::event::{Event, Inputs};
use super::held::{Held, Mark};
use super::orders::{Order, bit};
use super::passes::Passes;
use super::sent::{Asked, Sent};
use super::terms::Terms;
use crate::contradiction::Contradiction;

pub(crate) struct Book {
    pub(super) server: ServerKey,
    pub(super) owner: [u8; 16],
    pub(crate) idle: Vec<Held>,
    pub(crate) sent: BTreeMap<u64, Sent>,
    /// Requests that were performed, and whose answers their callers may not have heard. Sent again
    /// they are answered again, for nothing.
    pub(crate) kept: BTreeMap<u64, Asked>,
    /// Purchases by their first claim.
    pub(crate) orders: BTreeMap<u64, Order>,
    /// By epoch; the newest is the one that holds.
    pub(crate) terms: BTreeMap<u32, Terms>,
    pub(crate) seen: BTreeMap<u32, u64>,
    /// Those that may be shown now, or in the next epoch.
    pub(super) passes: Option<Passes>,
    pub(crate) next_request: u64,
    pub(crate) next_claim: u64,
    /// Tokens lost to epochs that ended before they were moved.
    pub(crate) expired: u64,
    /// What a restore would find, and what one has found.
    pub(crate) cells: Cells,
    /// Why nothing is paid any more.
    pub(crate) contradiction: Option<Box<Contradiction>>,
    /// Whether whatever terms it learns next hold, in spite of those it knows.
    pub(crate) begins_anew: bool,
}

impl Book {
    pub(crate) fn new(server: ServerKey, owner: [u8; 16]) -> Self {
        Book {
            server,
            owner,
            idle: Vec::new(),
            sent: BTreeMap::new(),
            kept: BTreeMap::new(),
            orders: BTreeMap::new(),
            terms: BTreeMap::new(),
            seen: BTreeMap::new(),
            passes: None,
            next_request: 0,
            next_claim: 0,
            expired: 0,
            cells: Cells::default(),
            contradiction: None,
            begins_anew: false,
        }
    }

    /// The terms that hold; none before a storage node that takes tokens was asked.
    pub(crate) fn now(&self) -> Option<&Terms> {
        self.terms.last_key_value().map(|(_, terms)| terms)
    }

    fn is_live(&self, epoch: Epoch) -> bool {
        self.now().is_none_or(|terms| epoch >= terms.oldest())
    }

    /// Whether an event fits what came before it.
    pub(crate) fn fits(&self, event: &Event) -> bool {
        match event {
            Event::Owner(owner) => *owner == self.owner,
            Event::Terms(signed) => Terms::new((**signed).clone(), &self.server).is_some(),
            Event::Sent {
                id,
                dropped,
                request,
                ..
            } => {
                id.checked_add(1).is_some()
                    && self.keeps(dropped)
                    && self.read((**request).clone()).is_some()
            }
            Event::Kept { request, .. } => self.read((**request).clone()).is_some(),
            Event::Settled { id, .. } | Event::Released { id } | Event::Healed { id, .. } => {
                self.sent.contains_key(id)
            }
            Event::Dropped { ids } => self.keeps(ids),
            Event::Ordered { order, claims, .. } => order.checked_add((*claims).into()).is_some(),
            Event::Quoted { order, .. } | Event::Closed { order } => {
                self.orders.contains_key(order)
            }
            Event::Contradicted(proof) => proof.convicts(&self.server).is_some(),
            Event::Counters { .. }
            | Event::Pardoned
            | Event::Seen { .. }
            | Event::Held(_)
            | Event::Shown { .. }
            | Event::Breakglass(_)
            | Event::Passes(_)
            | Event::Collected { .. } => true,
        }
    }

    /// Takes an event; `None` when it does not fit what came before it.
    pub(crate) fn apply(&mut self, event: Event) -> Option<()> {
        match event {
            Event::Owner(owner) => return (owner == self.owner).then_some(()),
            Event::Counters {
                next_request,
                next_claim,
                expired,
            } => {
                self.next_request = next_request;
                self.next_claim = next_claim;
                self.expired = expired;
            }
            Event::Terms(signed) => {
                let terms = Terms::new(*signed, &self.server)?;
                if std::mem::take(&mut self.begins_anew) {
                    self.terms.retain(|epoch, _| *epoch < terms.record.epoch);
                }
                self.terms.insert(terms.record.epoch, terms);
                self.expire();
            }
            Event::Seen { epoch, at } => {
                self.seen.insert(epoch, at);
            }
            Event::Held(held) => self.gain(held),
            Event::Shown { digest, mut held } => {
                held.shown = Some(digest);
                self.gain(held);
            }
            Event::Sent {
                id,
                dropped,
                mut inputs,
                outputs,
                request,
            } => {
                if let Inputs::Pair(pair) = &mut inputs {
                    self.cells.shown_together(pair);
                    for held in pair.iter_mut() {
                        held.shown = self.shown(&held.serial);
                        held.mark = self.cells.mark(&held.serial);
                    }
                    self.spend(&pair.each_ref().map(|held| held.serial));
                }
                self.forget(&dropped)?;
                let asked = self.read(*request)?;
                self.next_request = self.next_request.max(id.checked_add(1)?);
                let sent = Sent {
                    inputs,
                    outputs,
                    asked,
                };
                self.sent.insert(id, sent);
                self.uses(id);
            }
            Event::Settled { id, pair } => {
                let Sent { inputs, asked, .. } = self.sent.remove(&id)?;
                match inputs {
                    Inputs::Claim { order, which } => self.collected(order, bit(which)),
                    Inputs::Pair(from) => self.cells.replaced(&asked.request.call, &from, &pair),
                }
                pair.into_iter().for_each(|held| self.gain(held));
                if matches!(asked.request.call, Call::Insert(_) | Call::Delete(_)) {
                    self.cells.stored();
                }
                // Nobody but its caller can say whether it hears the answer.
                if asked.request.call.key().is_some() {
                    self.kept.insert(id, asked);
                }
            }
            Event::Released { id } => self.sent.remove(&id)?.shown(|held| self.gain(held)),
            Event::Healed { id, spent, gained } => {
                self.sent.remove(&id)?.shown(|held| self.gain(held));
                self.spend(&spent);
                self.cells.spent(&spent, &gained);
                gained.into_iter().for_each(|held| self.gain(held));
            }
            Event::Kept { id, request } => {
                let asked = self.read(*request)?;
                self.kept.insert(id, asked);
            }
            Event::Dropped { ids } => self.forget(&ids)?,
            Event::Ordered {
                order,
                claims,
                each,
                voucher,
            } => {
                self.next_claim = self.next_claim.max(order.checked_add(claims.into())?);
                let new = Order {
                    claims,
                    each,
                    voucher,
                    quoted: None,
                    collected: 0,
                };
                self.orders.insert(order, new);
            }
            Event::Quoted { order, quoted } => self.orders.get_mut(&order)?.quoted = Some(quoted),
            Event::Collected { order, claims } => self.collected(order, claims),
            Event::Closed { order } => {
                self.orders.remove(&order)?;
            }
            Event::Breakglass(change) => {
                self.cells.apply(change);
                let sent = self
                    .sent
                    .values_mut()
                    .filter_map(|sent| match &mut sent.inputs {
                        Inputs::Pair(pair) => Some(pair.iter_mut()),
                        Inputs::Claim { .. } => None,
                    });
                for held in self.idle.iter_mut().chain(sent.flatten()) {
                    held.mark = self.cells.mark(&held.serial);
                }
            }
            Event::Passes(passes) => self.passes = Some(passes),
            Event::Contradicted(proof) => self.contradiction = Some(proof),
            Event::Pardoned => {
                self.contradiction = None;
                self.begins_anew = true;
            }
        }
        Some(())
    }

    /// What those inputs of a request in flight are set aside for that have these serials.
    pub(super) fn mark_of(&self, id: u64, serials: &[Reference]) -> Mark {
        let inputs = self.sent.get(&id).map(|sent| &sent.inputs);
        let Some(Inputs::Pair(pair)) = inputs else {
            return Mark::Free;
        };
        let spent = pair.iter().filter(|held| serials.contains(&held.serial));
        spent.map(|held| held.mark).max().unwrap_or_default()
    }

    /// Counts the operations that are under way, if this one is of whoever uses the wallet.
    fn uses(&mut self, id: u64) {
        let is_use = |sent: &Sent| match &sent.asked.request.call {
            Call::Insert(insert) => !self.cells.is_page(insert.blob.hash()),
            // Which deletes are of a page only the root key tells.
            call => matches!(call, Call::Lookup(_)),
        };
        if !self.sent.get(&id).is_some_and(is_use) {
            return;
        }
        let on_keys = |sent: &&Sent| sent.asked.request.call.key().is_some();
        let at_once = self.sent.values().filter(on_keys).count();
        let at_once = u8::try_from(at_once).unwrap_or(u8::MAX);
        self.cells.uses.since = self.cells.uses.since.max(at_once);
    }

    /// The request of this number, in flight or kept.
    pub(crate) fn asked(&self, id: u64) -> Option<&Asked> {
        let sent = self.sent.get(&id).map(|sent| &sent.asked);
        sent.or_else(|| self.kept.get(&id))
    }

    fn keeps(&self, ids: &[u64]) -> bool {
        ids.iter().all(|id| self.kept.contains_key(id))
    }

    fn forget(&mut self, ids: &[u64]) -> Option<()> {
        ids.iter().try_for_each(|id| self.kept.remove(id).map(drop))
    }

    fn read(&self, request: Request) -> Option<Asked> {
        Asked::new(request, self.now()?.credentials.service())
    }

    /// Takes a credential in, once.
    fn gain(&mut self, mut held: Held) {
        held.mark = self.cells.mark(&held.serial);
        if !self.is_live(held.epoch) {
            // What a restore has found and not exchanged yet may have been spent.
            let may_be_spent = self.cells.restoring.is_some() && held.mark != Mark::Free;
            if !may_be_spent && held.mark != Mark::Elsewhere {
                self.expired = self.expired.saturating_add(held.amount);
            }
        } else if !self.knows(&held) {
            self.idle.push(held);
        }
    }

    fn knows(&self, held: &Held) -> bool {
        let mut known = self.idle.iter().chain(self.in_flight());
        known.any(|other| other.serial == held.serial)
    }

    pub(super) fn in_flight(&self) -> impl Iterator<Item = &Held> {
        let pairs = self.sent.values().filter_map(|sent| match &sent.inputs {
            Inputs::Pair(pair) => Some(pair.iter()),
            Inputs::Claim { .. } => None,
        });
        pairs.flatten()
    }

    /// What a credential was shown for before.
    fn shown(&self, serial: &Reference) -> Option<[u8; 32]> {
        let mut known = self.idle.iter().chain(self.in_flight());
        known.find(|held| held.serial == *serial)?.shown
    }

    fn spend(&mut self, serials: &[Reference]) {
        self.idle.retain(|held| !serials.contains(&held.serial));
    }

    fn collected(&mut self, order: u64, claims: u16) {
        if let Some(known) = self.orders.get_mut(&order) {
            known.collected |= claims;
            if known.open().next().is_none() {
                self.orders.remove(&order);
            }
        }
    }

    /// Lets go of what belongs to epochs that have ended.
    fn expire(&mut self) {
        let Some((epoch, oldest)) = self.now().map(|now| (now.record.epoch, now.oldest())) else {
            return;
        };
        let ended = self.idle.iter().filter(|held| held.epoch < oldest);
        let alone: Vec<_> = ended
            .filter(|held| self.is_alone(held))
            .map(|held| held.serial)
            .collect();
        self.passes = self.passes.filter(|passes| passes.of(epoch).is_some());
        self.terms.retain(|epoch, _| *epoch >= oldest.0);
        self.seen.retain(|epoch, _| *epoch >= oldest.0);
        self.kept.retain(|_, asked| asked.epoch >= oldest);
        let (ended, live) = std::mem::take(&mut self.sent)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|(_, sent)| sent.asked.epoch < oldest);
        self.sent = live;
        // What is alone was never known to be there.
        self.spend(&alone);
        for held in std::mem::take(&mut self.idle) {
            self.gain(held);
        }
        for sent in ended.into_values() {
            sent.shown(|held| self.gain(held));
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use larder_protocol::extension::Extension;
    use larder_protocol::{Nonce, Payment};
    use secp256k1::{Keypair, SECP256K1, SecretKey};

    use super::super::change::Change;
    use super::*;

    /// An empty one.
    pub(in super::super) fn book() -> Option<Book> {
        let secret = SecretKey::from_slice(&[1; 32]).ok()?;
        let server = Keypair::from_secret_key(SECP256K1, &secret).public_key();
        Some(Book::new(server.into(), [0; 16]))
    }

    #[test]
    fn a_credential_that_is_gained_twice_is_there_once() -> Result<(), &'static str> {
        let mut book = book().ok_or("a key")?;
        let held = Held::worth(Epoch(1), 5);
        for _ in 0..2 {
            book.apply(Event::Held(held.clone())).ok_or("it fits")?;
        }
        assert_eq!(book.idle.len(), 1);
        book.spend(&[held.serial]);
        assert!(book.idle.is_empty());
        Ok(())
    }

    #[test]
    fn what_turns_out_to_be_spent_is_set_aside_for_nothing() -> Result<(), &'static str> {
        let mut book = book().ok_or("a key")?;
        let (spent, mark) = (vec![Reference([7; 32])], Mark::Reserve);
        let serials = spent.clone();
        let marked = Change::Marked { mark, serials };
        book.apply(Event::Breakglass(marked)).ok_or("it fits")?;
        let pair = Held::stored(1, 5).zip(Held::stored(1, 6));
        let (first, second) = pair.ok_or("credentials")?;
        let inputs = Inputs::Pair(Box::new([first, second]));
        let asked = Asked {
            request: Request {
                nonce: Nonce([0; 32]),
                payment: Payment::None,
                call: Call::Transfer,
                extension: Extension::default(),
            },
            digest: [0; 32],
            epoch: Epoch(1),
        };
        let outputs = [0, 0];
        book.sent.insert(
            0,
            Sent {
                inputs,
                outputs,
                asked,
            },
        );
        let (id, gained) = (0, Vec::new());
        book.apply(Event::Healed {
            id,
            spent: spent.clone(),
            gained,
        })
        .ok_or("it fits")?;
        assert_eq!(book.cells.mark(&spent[0]), Mark::Free);
        Ok(())
    }
}
