//! What a malicious storage node is told to do, a line at a time.
//!
//! | line | from then on |
//! | --- | --- |
//! | `honest` | it answers as its store says |
//! | `forge random`, `foreign`, `swapped`, `torn`, `sealed`, `keyed` | it finds a blob of its making where nothing is; with `everywhere` behind it, where something is, too |
//! | `withhold blobs` | it signs that nothing is there, whatever it had acknowledged |
//! | `withhold answers` | it answers nothing but questions for its terms |
//! | `withhold passes` | it hands out none to who pays |
//! | `tag prices`, `passes`, `timers` | whoever asks for its terms without a pass gets terms of their own, of the same epoch |
//! | `time ahead N` | its terms say that it is N epochs later |
//! | `time back` | its terms are those of the first epoch |
//! | `time seconds N` | its terms say that an epoch has N seconds |
//!
//! and at once:
//!
//! | line | does |
//! | --- | --- |
//! | `snapshot` | keeps a copy of its store |
//! | `roll-back` | goes on from that copy, ledger and all |
//! | `roll-forward` | goes on from where it was before that |
//! | `enter N` | enters N epochs, one after the other |
//! | `told` | says how many lies it has told since it was asked last, and how many blobs it has |

use crate::forge::Forgery;

/// What it does with its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Nothing.
    None,
    /// It answers look-ups with a blob that is not the wallet's.
    Forge {
        /// How that is made.
        how: Forgery,
        /// Also where there is one of the wallet's.
        everywhere: bool,
    },
    /// It keeps something back.
    Withhold(Withheld),
    /// Terms of their own for everybody.
    Tag(Tag),
    /// Terms of another time.
    Time(Time),
}

/// What is kept back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Withheld {
    Blobs,
    Answers,
    Passes,
}

/// What in the terms tells one client from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    Prices,
    Passes,
    Timers,
}

/// What the terms say of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Time {
    Ahead(u32),
    Back,
    Seconds(u32),
}

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Lie(Lie),
    Snapshot,
    RollBack,
    RollForward,
    Enter(u32),
    Told,
}

impl Order {
    /// Reads a line; `None` when it is none.
    #[must_use]
    pub(crate) fn read(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let lie = match words[..] {
            ["snapshot"] => return Some(Order::Snapshot),
            ["roll-back"] => return Some(Order::RollBack),
            ["roll-forward"] => return Some(Order::RollForward),
            ["enter", epochs] => return Some(Order::Enter(epochs.parse().ok()?)),
            ["told"] => return Some(Order::Told),
            ["honest"] => Lie::None,
            ["forge", how] => forge(how, false)?,
            ["forge", how, "everywhere"] => forge(how, true)?,
            ["withhold", what] => Lie::Withhold(match what {
                "blobs" => Withheld::Blobs,
                "answers" => Withheld::Answers,
                "passes" => Withheld::Passes,
                _ => return None,
            }),
            ["tag", what] => Lie::Tag(match what {
                "prices" => Tag::Prices,
                "passes" => Tag::Passes,
                "timers" => Tag::Timers,
                _ => return None,
            }),
            ["time", "ahead", epochs] => Lie::Time(Time::Ahead(epochs.parse().ok()?)),
            ["time", "back"] => Lie::Time(Time::Back),
            ["time", "seconds", seconds] => Lie::Time(Time::Seconds(seconds.parse().ok()?)),
            _ => return None,
        };
        Some(Order::Lie(lie))
    }
}

fn forge(how: &str, everywhere: bool) -> Option<Lie> {
    let how = match how {
        "random" => Forgery::Random,
        "foreign" => Forgery::Foreign,
        "swapped" => Forgery::Swapped,
        "torn" => Forgery::Torn,
        "sealed" => Forgery::Sealed,
        "keyed" => Forgery::Keyed,
        _ => return None,
    };
    Some(Lie::Forge { how, everywhere })
}
