//! What waits to be opened: messages that show a known pass, and apart from them all others.
//!
//! Promises: neither kind takes room from the other, so no flood of messages without a pass keeps
//! one out that has one, or displaces it; within each kind peers share fairly ([`FairQueues`]), and one
//! peer's small messages take no room from its big ones. What finds no room is not copied.

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::OnionMessage;

use crate::fair::{FairQueues, Refused};
use crate::parcel::Size;
use crate::pass::Honoured;

/// A message, and the pass it shows.
pub(crate) struct Mail {
    pub(crate) message: OnionMessage,
    pub(crate) pass: Option<Honoured>,
}

/// Which messages somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of them, those with a pass first.
    All,
    WithPass,
    WithoutPass,
}

pub(super) struct Inboxes {
    with_pass: Inbox,
    without_pass: Inbox,
    honoured: Vec<Honoured>,
}

/// One queue for each peer and size: whoever pays for an operation sends big messages, and who comes
/// through the same relay must not crowd them out with small ones.
type Inbox = FairQueues<(PublicKey, Size), Mail>;

impl Inboxes {
    /// At most `per_peer` messages of one kind, size and peer, and so many of each kind.
    pub(super) fn new(per_peer: usize, with_pass: usize, without_pass: usize) -> Self {
        Inboxes {
            with_pass: FairQueues::new(per_peer, with_pass),
            without_pass: FairQueues::new(per_peer, without_pass),
            honoured: Vec::new(),
        }
    }

    /// Knows these passes from now on, and no others. What waits stays where it is.
    pub(super) fn honour(&mut self, passes: Vec<Honoured>) {
        self.honoured = passes;
    }

    /// The known pass that a message shows.
    pub(super) fn pass_of(&self, message: &OnionMessage) -> Option<Honoured> {
        let mut honoured = self.honoured.iter();
        honoured.find(|pass| pass.is_shown_by(message)).copied()
    }

    /// Begins to accept messages of a peer.
    pub(super) fn open(&mut self, peer: PublicKey) {
        for size in Size::BOTH {
            self.with_pass.open((peer, size));
            self.without_pass.open((peer, size));
        }
    }

    /// Forgets a peer; returns how many messages were lost with it, first those with a pass.
    pub(super) fn close(&mut self, peer: PublicKey) -> [usize; 2] {
        [&mut self.with_pass, &mut self.without_pass].map(|inbox| {
            Size::BOTH
                .map(|size| inbox.close(&(peer, size)))
                .iter()
                .sum()
        })
    }

    /// Copies a message that shows this pass, or none, if there is room for it; returns how many of
    /// another peer's it displaced.
    pub(super) fn push(
        &mut self,
        peer: PublicKey,
        message: &OnionMessage,
        pass: Option<Honoured>,
    ) -> Result<usize, Refused> {
        let inbox = match pass {
            Some(_) => &mut self.with_pass,
            None => &mut self.without_pass,
        };
        inbox.push_with(&(peer, Size::of(message)), || Mail {
            message: message.clone(),
            pass,
        })
    }

    /// Takes the oldest message of the peer whose turn it is.
    pub(super) fn pop(&mut self, wanted: Wanted) -> Option<Mail> {
        let (_, mail) = match wanted {
            Wanted::All => self
                .with_pass
                .pop_next()
                .or_else(|| self.without_pass.pop_next()),
            Wanted::WithPass => self.with_pass.pop_next(),
            Wanted::WithoutPass => self.without_pass.pop_next(),
        }?;
        Some(mail)
    }

    /// Messages waiting, of both kinds.
    pub(super) fn waiting(&self) -> usize {
        self.with_pass.waiting() + self.without_pass.waiting()
    }
}
