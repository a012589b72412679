//! Files with a secret in them: readable by their owner, and refused when others read them, too.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use zeroize::Zeroizing;

use crate::durable;
use crate::error::CliError;

/// The text of a secret file, if there is one.
pub(crate) fn read(path: &Path) -> Result<Option<Zeroizing<String>>, CliError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(CliError::file("read", path)(error)),
    };
    let metadata = file.metadata().map_err(CliError::file("read", path))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        let path = path.display();
        return Err(CliError::Usage(format!(
            "others can read {path}, which holds a secret: run `chmod 600 {path}`"
        )));
    }
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text)
        .map_err(CliError::file("read", path))?;
    Ok(Some(text))
}

/// Replaces a secret file, durably.
pub(crate) fn replace(path: &Path, secret: &str) -> Result<(), CliError> {
    let line = Zeroizing::new(format!("{secret}\n"));
    durable::replace(path, line.as_bytes()).map_err(CliError::file("write", path))
}

/// Makes a secret file, durably; [`io::ErrorKind::AlreadyExists`] if there is one.
pub(crate) fn create(path: &Path, secret: &str) -> io::Result<()> {
    let line = Zeroizing::new(format!("{secret}\n"));
    durable::create(path, line.as_bytes())
}
