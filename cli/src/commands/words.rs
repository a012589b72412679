//! `larder words`: the words behind the root key once more, and a checkpoint to write beside them.
//!
//! Standard output has the words alone, so that it can be given to `restore --words`.

use serde_json::json;

use crate::error::CliError;
use crate::output::Output;
use crate::wallet::Folder;

pub(crate) fn run(folder: &Folder, output: &Output) -> Result<(), CliError> {
    let words = folder.words()?.ok_or_else(|| {
        CliError::Failed(format!(
            "the words are not here: they were given to this wallet, which keeps none but its own, or it \
             never had any; {} does as well",
            folder.root_key().display()
        ))
    })?;
    let words = words.trim();
    let known = folder.known()?;
    let root = folder.root()?;
    let checkpoint = known.and_then(|known| known.checkpoint(&root));
    if let Some(checkpoint) = &checkpoint {
        output.say(&format!(
            "write beside them how far the history goes now, {} commit(s), and again now and then:\n\n{checkpoint}\n\nA \
             restore --at-least that checkpoint refuses an older state.\n",
            checkpoint.records()
        ));
    }
    let checkpoint = checkpoint.map(|checkpoint| checkpoint.to_string());
    output.result(&json!({ "words": words, "checkpoint": checkpoint }), || {
        words.to_owned()
    })
}
