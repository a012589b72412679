//! A [book](super::book) as the fewest events that make it again, for a journal that has grown long.

use super::book::Book;
use super::event::Event;
use super::journal::Entry;

impl Book {
    /// The events that make this state out of nothing.
    pub(crate) fn snapshot(&self) -> Vec<Entry> {
        let mut events = vec![Event::Owner(self.owner)];
        let terms = self.terms.values();
        events.extend(terms.map(|terms| Event::Terms(Box::new(terms.signed.clone()))));
        events.extend(self.begins_anew.then_some(Event::Pardoned));
        events.extend(self.contradiction.clone().map(Event::Contradicted));
        events.extend(self.passes.map(Event::Passes));
        let known = self.idle.iter().chain(self.in_flight());
        let changes = self.cells.snapshot(known);
        events.extend(changes.into_iter().map(Event::Breakglass));
        let seen = self.seen.iter();
        events.extend(seen.map(|(&epoch, &at)| Event::Seen { epoch, at }));
        events.extend(self.idle.iter().cloned().map(Event::of));
        // Those in flight are spent again below, and are known by then.
        let shown = self.in_flight().filter(|held| held.shown.is_some());
        events.extend(shown.cloned().map(Event::of));
        for (&order, known) in &self.orders {
            events.push(Event::Ordered {
                order,
                claims: known.claims,
                each: known.each,
                voucher: known.voucher.clone(),
            });
            let quoted = known.quoted.clone();
            events.extend(quoted.map(|quoted| Event::Quoted { order, quoted }));
            events.push(Event::Collected {
                order,
                claims: known.collected,
            });
        }
        for (&id, sent) in &self.sent {
            events.push(Event::Sent {
                id,
                dropped: Vec::new(),
                inputs: sent.inputs.clone(),
                outputs: sent.outputs,
                request: Box::new(sent.asked.request.clone()),
            });
        }
        for (&id, asked) in &self.kept {
            let request = Box::new(asked.request.clone());
            events.push(Event::Kept { id, request });
        }
        events.push(Event::Counters {
            next_request: self.next_request,
            next_claim: self.next_claim,
            expired: self.expired,
        });
        events.iter().map(Event::encode).collect()
    }
}

#[cfg(test)]
mod tests {
    use larder_credentials::Epoch;

    use super::super::book::tests::book;
    use super::super::held::Held;
    use super::*;

    #[test]
    fn a_snapshot_remembers_what_a_credential_was_shown_for() -> Result<(), &'static str> {
        let mut before = book().ok_or("a key")?;
        let (digest, held) = ([7; 32], Held::worth(Epoch(1), 5));
        before
            .apply(Event::Shown { digest, held })
            .ok_or("it fits")?;
        assert_eq!(before.idle[0].shown, Some(digest));
        let entry = Event::of(before.idle[0].clone()).encode();
        assert_eq!(entry[..33], [&[16], &digest[..]].concat());
        Ok(())
    }

    #[test]
    fn a_snapshot_remembers_which_claims_were_collected() -> Result<(), &'static str> {
        let mut before = book().ok_or("a key")?;
        let (order, claims, each) = (3, 2, 50);
        let ordered = Event::Ordered {
            order,
            claims,
            each,
            voucher: None,
        };
        before.apply(ordered).ok_or("it fits")?;
        before
            .apply(Event::Collected {
                order,
                claims: 0b10,
            })
            .ok_or("it fits")?;
        let mut after = book().ok_or("a key")?;
        for entry in before.snapshot() {
            let event = Event::decode(&entry).ok_or("it is one")?;
            after.apply(event).ok_or("it fits")?;
        }
        let open: Vec<u8> = after.orders[&order].open().collect();
        assert_eq!((open, after.next_claim), (vec![0], 5));
        // The last one ends the order.
        let collected = Event::Collected {
            order,
            claims: 0b01,
        };
        after.apply(collected).ok_or("it fits")?;
        assert!(after.orders.is_empty());
        Ok(())
    }
}
