//! One request after the other, each with the means to answer it.

use std::sync::Arc;

use larder_protocol::{Pass, REPLY_TLV, REQUEST_TLV};
use lightning::blinded_path::message::BlindedMessagePath;
use lightning::onion_message::messenger::Destination;

use crate::counter::Counter;
use crate::endpoint::Endpoint;
use crate::error::Undelivered;
use crate::fair::Refused;
use crate::keys::{Peeled, Unbuilt};
use crate::mailroom::{Answers, Wanted};
use crate::parcel::{self, Parcel, Size};

/// Hops of a reply path we are willing to pay for. Every hop costs 0.3 ms, and a packet has
/// room for two hundred of them.
pub const MAX_REPLY_HOPS: usize = 8;

/// Where requests come from. Clone it for every thread that serves them.
#[derive(Clone)]
pub struct Intake {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) tally: Arc<Tally>,
    pub(super) wanted: Wanted,
}

impl Intake {
    /// Knows requests that come with one of these passes from now on, wherever they are taken from,
    /// and no longer those of others. What waits already is served as what it was when it arrived.
    pub fn honour(&self, passes: &[Pass]) {
        let honoured = passes.iter();
        let honoured = honoured.filter_map(|pass| self.endpoint.keys.honour(pass));
        self.endpoint.mailroom.honour(honoured.collect());
    }

    /// The same, of requests with a pass only.
    #[must_use]
    pub fn with_pass(&self) -> Intake {
        self.narrowed(Wanted::WithPass)
    }

    /// The same, of requests without a pass only.
    #[must_use]
    pub fn without_pass(&self) -> Intake {
        self.narrowed(Wanted::WithoutPass)
    }

    fn narrowed(&self, wanted: Wanted) -> Intake {
        Intake {
            wanted,
            ..self.clone()
        }
    }

    /// Waits for the next request and peels it on the calling thread, which must not be
    /// one that runs async tasks. Those with a pass come first. `None` once the service is shut
    /// down.
    ///
    /// While nobody calls this, requests wait in bounded inboxes and the rest is dropped
    /// unseen: under overload shedding costs a look at the queue.
    #[must_use]
    pub fn recv(&self) -> Option<Incoming> {
        loop {
            let mail = self.endpoint.mailroom.next(self.wanted)?;
            let big = Size::of(&mail.message) == Size::Big;
            let peeled = self.endpoint.keys.peel(&mail.message, mail.pass.as_ref());
            match peeled.and_then(|peeled| request(peeled, mail.pass.is_some())) {
                Some((contents, reply_path)) => {
                    self.tally.received.add();
                    return Some(Incoming {
                        contents,
                        with_pass: mail.pass.is_some(),
                        responder: Responder {
                            endpoint: Arc::clone(&self.endpoint),
                            tally: Arc::clone(&self.tally),
                            reply_path,
                            answers: match mail.pass {
                                Some(_) => Answers::WithPass,
                                None => Answers::WithoutPass,
                            },
                            big,
                        },
                    });
                }
                None => self.tally.rejected.add(),
            }
        }
    }
}

/// A request is of the right type, came along the path of the pass that it showed, or to our node id if
/// it showed none, and says where its answer goes.
fn request(peeled: Peeled, with_pass: bool) -> Option<(Vec<u8>, BlindedMessagePath)> {
    let context = with_pass.then(Vec::new);
    if peeled.parcel.tlv_type != REQUEST_TLV || peeled.context != context {
        return None;
    }
    let reply_path = peeled.reply_path?;
    (reply_path.blinded_hops().len() <= MAX_REPLY_HOPS).then_some((peeled.parcel.bytes, reply_path))
}

/// A request and the means to answer it.
pub struct Incoming {
    /// What the client sent, opaque here.
    pub contents: Vec<u8>,
    /// Whether it came with a pass.
    pub with_pass: bool,
    /// Sends the answer; dropping it sends none.
    pub responder: Responder,
}

/// The way back to whoever asked.
pub struct Responder {
    endpoint: Arc<Endpoint>,
    tally: Arc<Tally>,
    reply_path: BlindedMessagePath,
    answers: Answers,
    big: bool,
}

impl Responder {
    /// The way back as the storage node has it, all bytes of it, and how many hops it has. For benchmarks of what a
    /// storage node can tell.
    #[cfg(feature = "bench")]
    #[must_use]
    pub fn way_back(&self) -> (Vec<u8>, usize) {
        use lightning::util::ser::Writeable;
        (
            self.reply_path.encode(),
            self.reply_path.blinded_hops().len(),
        )
    }

    /// Builds the answer on the calling thread and queues it for the first hop of the reply
    /// path. `Ok` means queued: only the client knows whether it arrived.
    ///
    /// # Errors
    /// [`Undelivered`], at once; this never waits for a peer.
    pub fn answer(self, contents: &[u8]) -> Result<(), Undelivered> {
        let sent = self.send(contents);
        match sent {
            Ok(()) => self.tally.answered.add(),
            Err(_) => self.tally.undelivered.add(),
        }
        sent
    }

    fn send(&self, contents: &[u8]) -> Result<(), Undelivered> {
        // The first of them is us.
        let hops = self.reply_path.blinded_hops().len().saturating_sub(1);
        let does_not_fit = || Undelivered::DoesNotFit {
            got: contents.len(),
            room: match self.big {
                true => parcel::reply_room(hops),
                false => parcel::small_reply_room(hops),
            },
        };
        let reply = Parcel {
            tlv_type: REPLY_TLV,
            bytes: contents.to_vec(),
        };
        // The client makes us the first node of the path; LDK moves on to the second.
        let path = Destination::BlindedPath(self.reply_path.clone());
        let (peer, message) = self
            .endpoint
            .keys
            .build(Vec::new(), path, reply, None)
            .map_err(|unbuilt| match unbuilt {
                Unbuilt::DoesNotFit => does_not_fit(),
                Unbuilt::BadPath => Undelivered::PeerGone,
            })?;
        // An answer larger than what was asked with would make us an amplifier.
        if !self.big && Size::of(&message) == Size::Big {
            return Err(does_not_fit());
        }
        self.endpoint
            .send(&peer, message, self.answers)
            .map_err(|refused| match refused {
                Refused::Unknown => Undelivered::PeerGone,
                Refused::Full => Undelivered::Congested,
            })
    }
}

/// Counts of what the mailroom cannot know.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) rejected: Counter,
    pub(super) received: Counter,
    pub(super) answered: Counter,
    pub(super) undelivered: Counter,
}
