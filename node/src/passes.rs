//! The passes around one epoch: which are handed out in it, and which are honoured.
//!
//! | pass of | committed to and handed out | honoured |
//! | --- | --- | --- |
//! | the epoch before | | yes: a client may not know yet that it is over |
//! | this epoch | yes | yes |
//! | the next one | yes | |

use larder_protocol::Pass;

use crate::identity::Identity;

/// Passes of the epoch before, of this one and of the next one.
pub(crate) struct Passes([Pass; 3]);

impl Passes {
    pub(crate) fn around(identity: &Identity, epoch: u32) -> Self {
        let epochs = [epoch.saturating_sub(1), epoch, epoch.saturating_add(1)];
        Passes(epochs.map(|epoch| identity.pass(epoch)))
    }

    /// What the record says of them.
    pub(crate) fn commitments(&self) -> [[u8; 32]; 2] {
        self.handed_out().map(|pass| pass.commitment())
    }

    /// What those get who pay.
    pub(crate) fn handed_out(&self) -> Box<[Pass; 2]> {
        let [_, now, next] = self.0;
        Box::new([now, next])
    }

    /// What a message is known by.
    pub(crate) fn honoured(&self) -> &[Pass] {
        let [honoured @ .., _] = &self.0;
        honoured
    }
}
