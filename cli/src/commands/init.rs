//! `larder init`: make a wallet.

use larder_recovery::RootKey;
use larder_recovery::quorum::Policy;
use larder_recovery::words::{self, Count};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;

use crate::error::CliError;
use crate::output::Output;
use crate::wallet::{Folder, Known, Start};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    start: Start,
    /// Draw 24 words for a new root key instead of 12
    #[arg(long, conflicts_with_all = ["words", "root_file"])]
    long: bool,
}

pub(crate) fn run(args: Args, folder: &Folder, output: &Output) -> Result<(), CliError> {
    let kept = args.start.root()?;
    let settings = args.start.settings()?;
    let next = kept.is_some();
    // Words that were given may open other wallets, too: they are not for this folder to keep.
    let (root, words) = match kept {
        Some(root) => (root, None),
        None => {
            let count = match args.long {
                true => Count::TwentyFour,
                false => Count::Twelve,
            };
            let words = words::generate(&mut StdRng::from_os_rng(), count);
            let root = RootKey::from_words(&words);
            let root = root.map_err(|error| CliError::Failed(error.to_string()))?;
            (root, Some(words))
        }
    };
    let known = (!next).then(Known::of_new_root);
    let words = words.as_ref().map(|words| words.as_str());
    folder.create(&root, words, &settings, known.as_ref())?;
    let policy = Policy::majority(settings.providers.len());
    let json = json!({
        "wallet": folder.path.display().to_string(),
        "root_file": folder.root_key().display().to_string(),
        "words": words,
        "restore_next": next,
        "providers": settings.providers.len(),
        "acknowledge": policy.acknowledge,
        "recover": policy.recover,
    });
    output.result(&json, || {
        let made = folder.path.display();
        match words {
            None => format!("made {made}; now run `larder restore`"),
            Some(words) => format!(
                "made {made}\n\nWrite these words down, in this order, and keep them where nobody else reads \
                 them:\n\n{}\n\nWith them and a storage node's address `larder restore --words` brings everything \
                 back. `larder words` shows them again.",
                numbered(words)
            ),
        }
    })
}

/// Words as they are written down: four to a line, with their numbers.
fn numbered(words: &str) -> String {
    let words: Vec<&str> = words.split_whitespace().collect();
    let lines = words.chunks(4).zip((1..).step_by(4)).map(|(words, first)| {
        let words = words.iter().zip(first..);
        let words: Vec<String> = words
            .map(|(word, number)| format!("{number:>4}. {word:<10}"))
            .collect();
        words.concat().trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn words_are_shown_with_their_numbers() {
        let shown = super::numbered("one two three four five");
        assert_eq!(
            shown,
            "   1. one          2. two          3. three        4. four\n   5. five"
        );
    }
}
