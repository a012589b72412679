//! What a purse knows of its breakglass cell and of its pages, and what a restore has found.
//!
//! Credentials are `Held` like all others; what they are set aside for is in front of them, so that a crash
//! between the two leaves none that pays for what it must not.

use std::collections::{BTreeMap, BTreeSet};

use larder_credentials::{Epoch, Reference};
use larder_protocol::{BlobHash, Call};

use super::change::{Change, Fate, Opened, Rest, Uses, Written};
use super::held::{Held, Mark};
use crate::breakglass::Page;

/// A restore under way.
#[derive(Debug, Clone)]
pub(crate) struct Restoring {
    pub(crate) opened: Opened,
    /// The page, once it was looked for.
    pub(crate) page: Option<Option<Box<Page>>>,
}

/// The sum of the changes.
#[derive(Default)]
pub(crate) struct Cells {
    /// Those that are set aside for something.
    marks: BTreeMap<Reference, Mark>,
    pub(crate) written: Option<Written>,
    /// Pages of cells that were begun since: one of these may be the one that is stored.
    begun: BTreeSet<u64>,
    pub(crate) rest: Rest,
    /// Pages that are there or may be, by number.
    pub(crate) pages: BTreeMap<u64, (BlobHash, Fate)>,
    pub(crate) restoring: Option<Restoring>,
    /// How much the wallet is in use, so that as many credentials are taken off the page before they are needed.
    pub(crate) uses: Uses,
    /// What the restore under way knows to be spent, and where that led; or, when another copy of this purse was
    /// noticed, what is known of that. Rows meet again behind where they
    /// parted: taken in once more, each would be followed as often as there are ways to it. Not in a snapshot:
    /// a restore without it shows more, and finds the same.
    walked: BTreeSet<Reference>,
    /// The anchor of the cell that was opened last.
    pub(crate) hint: Option<(Epoch, u64)>,
}

impl Cells {
    pub(crate) fn mark(&self, serial: &Reference) -> Mark {
        self.marks.get(serial).copied().unwrap_or_default()
    }

    /// The newest page that is stored.
    pub(crate) fn newest_page(&self) -> Option<u64> {
        let stored = self.pages.iter().rev();
        let mut stored = stored.filter(|(_, (_, fate))| *fate == Fate::Stored);
        stored.next().map(|(number, _)| *number)
    }

    /// The page that the next cell names and this one does not.
    pub(crate) fn next_page(&self) -> Option<(u64, BlobHash)> {
        let named = self.written.map_or(0, |written| written.page);
        let next = self.newest_page().filter(|page| *page > named)?;
        self.pages.get(&next).map(|(hash, _)| (next, *hash))
    }

    /// The highest number that a page was given.
    pub(crate) fn last_page(&self) -> u64 {
        let named = self.written.map_or(0, |written| written.page);
        let last = self.pages.last_key_value().map_or(0, |(number, _)| *number);
        named.max(last)
    }

    /// Pages that no cell names that may be stored, and the next one will not.
    pub(crate) fn old_pages(&self) -> Vec<(u64, BlobHash)> {
        let needed = [self.written.map(|written| written.page), self.newest_page()];
        let is_needed = |number| needed.contains(&Some(number)) || self.begun.contains(&number);
        let pages = self.pages.iter();
        pages
            .filter(|(number, _)| !is_needed(**number))
            .map(|(number, (hash, _))| (*number, *hash))
            .collect()
    }

    /// Takes a change.
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Marked { mark, serials } => self.set(mark, serials),
            Change::Opened(opened) => {
                self.walked.clear();
                self.hint = Some((opened.epoch, opened.anchor));
                self.restoring = Some(Restoring { opened, page: None });
            }
            Change::Paged(page) => {
                if let Some(restoring) = &mut self.restoring {
                    restoring.page = Some(page);
                }
            }
            Change::Restored => {
                self.walked.clear();
                if let Some(Restoring { opened, .. }) = self.restoring.take() {
                    // Its tokens are taken; what is written next has a higher sequence.
                    self.written = Some(Written {
                        sequence: opened.sequence,
                        epoch: opened.epoch,
                        tokens: 0,
                        page: opened.page,
                    });
                    // The wallet that was lost may have written a moment ago.
                    self.stored();
                }
            }
            Change::Begun { page } => drop(self.begun.insert(page)),
            Change::Rests(rest) => self.rest = rest,
            Change::Uses(uses) => self.uses = uses,
            Change::Written(written) => {
                self.written = Some(written);
                self.begun.clear();
                self.rest.since = 0;
                if self.marks.values().any(|mark| *mark == Mark::Next) {
                    for mark in self.marks.values_mut() {
                        *mark = match mark {
                            Mark::Next => Mark::Reserve,
                            Mark::Elsewhere => Mark::Elsewhere,
                            _ => Mark::Listed,
                        };
                    }
                }
            }
            Change::Page {
                number,
                fate: Fate::Deleted,
                ..
            } => drop(self.pages.remove(&number)),
            Change::Page { number, hash, fate } => {
                // The cell waits for its page.
                self.rest.since = 0;
                if fate == Fate::Stored {
                    self.uses = Uses {
                        since: 0,
                        before: self.uses.since,
                    };
                }
                self.pages.insert(number, (hash, fate));
            }
        }
    }

    /// Whether a page of this hash is there, or may be.
    pub(crate) fn is_page(&self, hash: BlobHash) -> bool {
        self.pages.values().any(|(page, _)| *page == hash)
    }

    /// Something was stored or deleted, at a time that whoever looks next can tell best.
    pub(crate) fn stored(&mut self) {
        self.rest.wrote = u64::MAX;
    }

    /// A call has replaced these two by those: a reissue passes on what they are for.
    pub(crate) fn replaced(&mut self, call: &Call, from: &[Held; 2], to: &[Held; 2]) {
        let [first, second] = from.each_ref().map(|held| self.mark(&held.serial));
        let mark = match call {
            Call::Reissue => first.max(second),
            _ => Mark::Free,
        };
        self.set(Mark::Free, from.iter().map(|held| held.serial));
        self.walk(from.iter().map(|held| held.serial));
        self.set(mark, to.iter().map(|held| held.serial));
    }

    /// These two are shown together: what one of them is set aside for, so is the other, should they come
    /// back. A free one would tie what it pays for to what a page lists.
    pub(crate) fn shown_together(&mut self, pair: &[Held; 2]) {
        let [first, second] = pair.each_ref().map(|held| self.mark(&held.serial));
        if first != second {
            self.set(first.max(second), pair.iter().map(|held| held.serial));
        }
    }

    /// These turn out to be spent, and to have become those. A reserve that did not become another one was
    /// taken by a restore: then the cell leads to nothing any more.
    pub(crate) fn spent(&mut self, serials: &[Reference], gained: &[Held]) {
        // What is to be in the next cell is in this one too when nothing else is.
        let reserves = self.marks.values().filter(|mark| mark.is_reserve());
        let reserve = reserves.max().copied();
        let is_reserve = |serial| reserve == Some(self.mark(serial));
        let mut marks = gained.iter().map(|held| self.mark(&held.serial));
        let goes_on = marks.any(Mark::is_reserve);
        if serials.iter().any(is_reserve) && !goes_on {
            self.written = self.written.map(|written| Written {
                tokens: 0,
                ..written
            });
        }
        self.set(Mark::Free, serials.iter().copied());
        self.walk(serials.iter().copied());
    }

    /// Whether another copy of this purse was noticed, and may still have something.
    pub(crate) fn has_parted(&self) -> bool {
        self.marks.values().any(|mark| *mark == Mark::Elsewhere)
    }

    /// Whether this one is known to be spent.
    pub(crate) fn is_walked(&self, serial: &Reference) -> bool {
        self.walked.contains(serial)
    }

    fn walk(&mut self, serials: impl Iterator<Item = Reference>) {
        if self.restoring.is_some() || self.has_parted() {
            self.walked.extend(serials);
        }
    }

    fn set(&mut self, mark: Mark, serials: impl IntoIterator<Item = Reference>) {
        for serial in serials {
            match mark {
                Mark::Free => drop(self.marks.remove(&serial)),
                mark => drop(self.marks.insert(serial, mark)),
            }
        }
    }

    /// The changes that make this out of nothing, as far as it is about these credentials.
    pub(crate) fn snapshot<'a>(&self, known: impl Iterator<Item = &'a Held>) -> Vec<Change> {
        let mut changes = Vec::new();
        if let Some(Restoring { opened, page }) = &self.restoring {
            changes.push(Change::Opened(*opened));
            changes.extend(page.clone().map(Change::Paged));
        }
        changes.extend(self.written.map(Change::Written));
        changes.extend(self.begun.iter().map(|&page| Change::Begun { page }));
        for (&number, &(hash, fate)) in &self.pages {
            changes.push(Change::Page { number, hash, fate });
        }
        changes.push(Change::Rests(self.rest));
        changes.push(Change::Uses(self.uses));
        let marked = known.map(|held| (held.serial, self.mark(&held.serial)));
        let marked = marked.filter(|(_, mark)| *mark != Mark::Free);
        changes.extend(marked.map(|(serial, mark)| Change::Marked {
            mark,
            serials: vec![serial],
        }));
        changes
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    fn marks(cells: &Cells, serials: [u8; 3]) -> [Mark; 3] {
        serials.map(|serial| cells.mark(&Reference([serial; 32])))
    }

    fn held(serial: u8) -> Held {
        let mut held = Held::worth(Epoch(5), 1);
        held.serial = Reference([serial; 32]);
        held
    }

    fn marked(mark: Mark, serial: u8) -> Change {
        let serials = vec![Reference([serial; 32])];
        Change::Marked { mark, serials }
    }

    const WRITTEN: Written = Written {
        sequence: 1,
        epoch: Epoch(5),
        tokens: 9,
        page: 3,
    };

    #[test]
    fn a_cell_makes_the_next_reserve_the_reserve_and_gives_the_old_one_back() {
        let mut cells = Cells::default();
        cells.apply(marked(Mark::Reserve, 1));
        cells.apply(marked(Mark::Listed, 3));
        // One that is written again with the same reserve changes nothing.
        cells.apply(Change::Written(WRITTEN));
        let [reserve, next, listed] = [Mark::Reserve, Mark::Next, Mark::Listed];
        assert_eq!(marks(&cells, [1, 2, 3]), [reserve, Mark::Free, listed]);
        cells.apply(marked(Mark::Next, 2));
        assert_eq!(marks(&cells, [1, 2, 3]), [reserve, next, listed]);
        cells.apply(Change::Written(WRITTEN));
        assert_eq!(marks(&cells, [1, 2, 3]), [listed, reserve, listed]);
    }

    #[test]
    fn a_cell_leads_to_nothing_once_its_reserve_is_spent_on_something_else() {
        let reserve = |next: Option<u8>| {
            let mut cells = Cells::default();
            cells.apply(marked(Mark::Reserve, 1));
            cells.apply(Change::Written(WRITTEN));
            if let Some(next) = next {
                cells.apply(marked(Mark::Next, next));
            }
            cells
        };
        let left = |mut cells: Cells, spent: u8, gained: &[Held]| {
            cells.spent(&[Reference([spent; 32])], gained);
            cells.written.map(|written| (written.tokens, written.page))
        };
        let (all, none) = (Some((9, 3)), Some((0, 3)));
        assert_eq!(left(reserve(None), 1, &[]), none);
        // Another one is to be in the next cell, or the same.
        assert_eq!(left(reserve(Some(2)), 1, &[]), none);
        assert_eq!(left(reserve(Some(2)), 2, &[]), all);
        assert_eq!(left(reserve(Some(1)), 1, &[]), none);
        assert_eq!(left(reserve(None), 4, &[]), all);
        let mut moved = reserve(None);
        moved.apply(marked(Mark::Reserve, 5));
        assert_eq!(left(moved, 1, &[held(5)]), all);
    }

    #[test]
    fn a_reissue_passes_the_stronger_mark_on_and_a_transfer_takes_it_off() {
        for (call, expected) in [(Call::Reissue, Mark::Listed), (Call::Transfer, Mark::Free)] {
            let mut cells = Cells::default();
            cells.apply(marked(Mark::Listed, 2));
            cells.replaced(&call, &[held(1), held(2)], &[held(3), held(4)]);
            assert_eq!(marks(&cells, [2, 3, 4]), [Mark::Free, expected, expected]);
        }
    }

    #[test]
    fn a_free_credential_that_is_shown_beside_a_listed_one_is_listed() {
        let mut cells = Cells::default();
        cells.apply(marked(Mark::Listed, 2));
        cells.shown_together(&[held(1), held(2)]);
        cells.shown_together(&[held(3), held(4)]);
        assert_eq!(
            marks(&cells, [1, 2, 3]),
            [Mark::Listed, Mark::Listed, Mark::Free]
        );
    }

    #[test]
    fn a_page_is_old_when_no_cell_names_it_that_may_be_stored_or_comes_next() {
        let mut cells = Cells::default();
        cells.apply(Change::Written(WRITTEN));
        let hash = BlobHash([0; 32]);
        for (number, fate) in [
            (1, Fate::Stored),
            (2, Fate::Begun),
            (3, Fate::Stored),
            (4, Fate::Stored),
            (5, Fate::Begun),
        ] {
            cells.apply(Change::Page { number, hash, fate });
        }
        let old = |cells: &Cells| {
            cells
                .old_pages()
                .iter()
                .map(|page| page.0)
                .collect::<Vec<_>>()
        };
        assert_eq!((cells.newest_page(), cells.last_page()), (Some(4), 5));
        assert_eq!(old(&cells), [1, 2, 5]);
        cells.apply(Change::Begun { page: 2 });
        assert_eq!(old(&cells), [1, 5]);
        cells.apply(Change::Written(WRITTEN));
        let deleted = Fate::Deleted;
        let mut gone = |number| {
            cells.apply(Change::Page {
                number,
                hash,
                fate: deleted,
            });
            old(&cells)
        };
        assert_eq!(gone(1), [2, 5]);
    }

    #[test]
    fn a_snapshot_makes_the_same_out_of_nothing() {
        let mut cells = Cells::default();
        let opened = Opened {
            walk: true,
            sequence: 7,
            anchor: 8,
            page: 9,
            epoch: Epoch(5),
            tokens: 10,
        };
        let page = Change::Page {
            number: 9,
            hash: BlobHash([4; 32]),
            fate: Fate::Stored,
        };
        for change in [
            marked(Mark::Reserve, 1),
            Change::Opened(opened),
            Change::Paged(None),
            Change::Written(WRITTEN),
            Change::Begun { page: 9 },
            page,
            Change::Rests(Rest { wrote: 5, since: 6 }),
        ] {
            cells.apply(change);
        }
        let known = held(1);
        let mut again = Cells::default();
        let changes = cells.snapshot([&known].into_iter());
        changes.into_iter().for_each(|change| again.apply(change));
        assert_eq!(marks(&again, [1, 2, 3]), marks(&cells, [1, 2, 3]));
        assert_eq!((again.written, again.pages.len()), (Some(WRITTEN), 1));
        let restoring = again.restoring.map(|it| (it.opened, it.page.is_some()));
        assert_eq!(restoring, Some((opened, true)));
        assert_eq!((again.hint, again.begun), (cells.hint, cells.begun));
        assert_eq!(again.rest, cells.rest);
    }
}
