//! Identities from the system: new ones, and those in files.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rand::TryRng;
use rand::rngs::SysRng;

use crate::webrtc::{Identity, IdentityError};

#[cfg(test)]
mod tests;

impl Identity {
    /// Creates a new identity, which no peer knows yet.
    ///
    /// # Errors
    ///
    /// The system provides no random numbers.
    pub fn generate() -> Result<Self, IdentityError> {
        loop {
            let mut bytes = [0; 32];
            SysRng.try_fill_bytes(&mut bytes).map_err(|_| IdentityError::Randomness)?;
            if let Some(made) = Self::from_secret(&bytes) {
                return made;
            }
        }
    }

    /// Reads the identity in this file, or creates one and writes it to the file.
    ///
    /// The file holds the private key (PKCS #8) and the certificate in PEM, and is readable by this user alone (mode
    /// 0600). The file appears whole or not at all; two processes that create it at once end up with the same identity.
    /// The call blocks on the file system.
    ///
    /// # Errors
    ///
    /// The file cannot be read or written, or is anything but one key and its certificate.
    pub fn load_or_create(path: impl AsRef<Path>) -> Result<Self, IdentityError> {
        load_or_create(path.as_ref())
    }
}

fn load_or_create(path: &Path) -> Result<Identity, IdentityError> {
    match load(path) {
        Err(IdentityError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let identity = Identity::generate()?;
    match create(path, &identity) {
        Ok(()) => Ok(identity),
        // Someone was faster, and peers may know that one already.
        Err(IdentityError::Create { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => load(path),
        Err(error) => Err(error),
    }
}

fn load(path: &Path) -> Result<Identity, IdentityError> {
    let text = fs::read_to_string(path).map_err(|source| IdentityError::Read { path: path.to_owned(), source })?;
    warn_if_others_can_read(path);
    Identity::parse(&text).map_err(|error| IdentityError::File { path: path.to_owned(), error })
}

/// Writes a file that appears whole, for this user alone, and only if there is none.
fn create(path: &Path, identity: &Identity) -> Result<(), IdentityError> {
    let text = identity.to_pem()?;
    let temporary = beside(path, identity);
    let result = write_private(&temporary, &text).and_then(|()| put_in_place(&temporary, path));
    fs::remove_file(&temporary).ok(); // It is gone already if it was moved, and harmless if it cannot be removed.
    result.map_err(|source| IdentityError::Create { path: path.to_owned(), source })
}

/// Links the file to its name. A link fails if there is a file already, so that nobody's identity is replaced. Where
/// the file system has no links, the file is moved, and of two processes that create it in the same instant the later
/// one wins.
fn put_in_place(temporary: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(temporary, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !path.exists() => fs::rename(temporary, path),
        result => result,
    }
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file: File = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Returns a name in the same folder that nobody else chooses.
fn beside(path: &Path, identity: &Identity) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.new", identity.fingerprint().to_hex()));
    path.with_file_name(name)
}

/// Warns if other users can read the file. It is not refused, because a secret that is mounted into a container often
/// has a mode that cannot be changed.
#[cfg(unix)]
fn warn_if_others_can_read(path: &Path) {
    use std::os::unix::fs::MetadataExt;
    if fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o077 != 0) {
        tracing::warn!(path = %path.display(), "others can read this private key: chmod 600 it");
    }
}

#[cfg(not(unix))]
fn warn_if_others_can_read(_: &Path) {}
