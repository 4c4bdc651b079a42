//! Identities in files.

use std::fs;

use super::*;
use crate::webrtc::Fingerprint;

/// A folder of its own, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("narrowboat-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("id.pem")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

#[test]
fn the_file_is_made_once_for_its_user_alone_and_read_ever_after() {
    let folder = Folder::new("made-once");
    let made = Identity::load_or_create(folder.file()).expect("made");
    let read = Identity::load_or_create(folder.file()).expect("read");
    assert_eq!(made.fingerprint(), read.fingerprint());
    assert_eq!((made.certificate_der(), made.key_der()), (read.certificate_der(), read.key_der()));
    assert_eq!(fs::read_dir(&folder.0).expect("the folder").count(), 1, "nothing is left beside it");
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        assert_eq!(fs::metadata(folder.file()).expect("the file").mode() & 0o777, 0o600);
    }
}

#[test]
fn threads_that_create_the_file_at_once_end_up_with_one_identity() {
    let folder = Folder::new("at-once");
    let fingerprints: Vec<Fingerprint> = std::thread::scope(|scope| {
        let load = || scope.spawn(|| Identity::load_or_create(folder.file()).expect("an identity").fingerprint());
        let threads: Vec<_> = (0..8).map(|_| load()).collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread")).collect()
    });
    assert!(fingerprints.iter().all(|fingerprint| *fingerprint == fingerprints[0]), "{fingerprints:?}");
    assert_eq!(fs::read_dir(&folder.0).expect("the folder").count(), 1);
}

#[test]
fn a_file_that_is_no_identity_is_left_alone_and_named_in_the_error() {
    let folder = Folder::new("left-alone");
    fs::write(folder.file(), "precious").expect("written");
    let error = Identity::load_or_create(folder.file()).expect_err("no identity").to_string();
    assert!(error.contains("id.pem") && error.contains("BEGIN PRIVATE KEY"), "{error}");
    assert_eq!(fs::read_to_string(folder.file()).expect("read"), "precious");
    let error = Identity::load_or_create(folder.0.join("missing/id.pem")).expect_err("no folder").to_string();
    assert!(error.contains("its folder must exist"), "{error}");
    let error = Identity::load_or_create(&folder.0).expect_err("a folder").to_string();
    assert!(error.contains("cannot read"), "{error}");
}
