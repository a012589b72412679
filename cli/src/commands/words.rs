//! `larder words`: the words behind the root key once more.

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
    output.result(&json!({ "words": words }), || words.to_owned())
}
