//! A file that is still arriving.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::Failure;

/// Beginning and end of a temporary name.
const PREFIX: &str = ".narrowboat-";
const SUFFIX: &str = ".partial";
/// Temporary names that are tried. Each is random, so a second one is hardly ever needed.
const ATTEMPTS_MAX: u32 = 100;
/// Files of the same name in a directory.
const NUMBERS_MAX: u32 = 1_000_000;

/// A file under a temporary name, which is removed unless the file is [kept](Self::keep). So the name that the file is
/// to have never stands for half of it.
///
/// The file is locked while it arrives. A process that is killed leaves it unlocked, and [`sweep`] removes it.
#[derive(Debug)]
pub(crate) struct Partial {
    file: File,
    path: PathBuf,
    directory: PathBuf,
    /// It has its name, and the temporary one is gone.
    is_kept: bool,
}

impl Partial {
    /// Creates a new file in `directory`.
    pub(crate) fn create(directory: &Path) -> Result<Self, Failure> {
        for _ in 0..ATTEMPTS_MAX {
            let number = RandomState::new().hash_one(std::process::id());
            let path = directory.join(format!("{PREFIX}{number:016x}{SUFFIX}"));
            let file = match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(cannot_write(&error)),
            };
            let is_swept = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
            // A sweep may have come between, and is over once this end has the lock.
            if is_swept || !path.try_exists().map_err(|error| cannot_write(&error))? {
                continue;
            }
            return Ok(Self { file, path, directory: directory.to_owned(), is_kept: false });
        }
        Err("no temporary file can be created: try again".into())
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).map_err(|error| cannot_write(&error))
    }

    /// Brings the file to the disk, and gives it the name, or one with a number if that is taken. Returns its path.
    pub(crate) fn keep(mut self, name: &str) -> Result<PathBuf, Failure> {
        self.file.sync_all().map_err(|error| cannot_write(&error))?;
        let mut number = free_number(&self.directory, name);
        while number < NUMBERS_MAX {
            let path = self.directory.join(numbered(name, number));
            match rename_new(&self.path, &path) {
                Ok(()) => {
                    self.is_kept = true;
                    sync_directory(&self.directory);
                    return Ok(path);
                }
                // Another file has just taken it.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(cannot_write(&error)),
            }
        }
        Err(format!("there are {NUMBERS_MAX} files of the name {name}: move some away").into())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes the files in `directory` that a process has left unfinished because it was killed. Returns how many.
///
/// A file that another process still writes is locked. One that cannot be locked, because it is another user's or its
/// file system has no locks, stays too.
pub(crate) fn sweep(directory: &Path) -> usize {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let is_left = |path: &Path| {
        let Ok(file) = OpenOptions::new().write(true).open(path) else { return false };
        // The lock is held until the file is removed.
        file.try_lock().is_ok() && fs::remove_file(path).is_ok()
    };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .filter(|entry| entry.file_name().to_str().is_some_and(is_temporary))
        .filter(|entry| is_left(&entry.path()))
        .count()
}

fn is_temporary(name: &str) -> bool {
    let number = name.strip_prefix(PREFIX).and_then(|name| name.strip_suffix(SUFFIX));
    number.is_some_and(|number| number.len() == 16 && number.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Returns the number of a free name: the lowest one, if all below it are taken. The numbers are doubled, then halved,
/// so a name that a thousand files have takes twenty looks.
fn free_number(directory: &Path, name: &str) -> u32 {
    let is_taken = |number| directory.join(numbered(name, number)).symlink_metadata().is_ok();
    if !is_taken(0) {
        return 0;
    }
    let (mut taken, mut free) = (0, 1);
    while free < NUMBERS_MAX && is_taken(free) {
        (taken, free) = (free, free * 2);
    }
    while free - taken > 1 {
        let middle = taken + (free - taken) / 2;
        if is_taken(middle) {
            taken = middle;
        } else {
            free = middle;
        }
    }
    free
}

/// Renames without ever replacing a file: a hard link is only made where there is none.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // Some file systems have no hard links.
        Err(_) if to.try_exists()? => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(from, to),
    }
}

/// Syncs the directory, so that the name of the file survives a power cut too. Systems on which a directory cannot be
/// opened do so by themselves.
fn sync_directory(directory: &Path) {
    if let Ok(directory) = File::open(directory) {
        let _ = directory.sync_all();
    }
}

fn numbered(name: &str, number: u32) -> String {
    match (number, name.rsplit_once('.')) {
        (0, _) => name.to_owned(),
        (_, Some((stem, extension))) if !stem.is_empty() => format!("{stem}-{number}.{extension}"),
        _ => format!("{name}-{number}"),
    }
}

/// Returns the failure for a file that cannot be written. The sender gets the sentence as well, so it does not name the
/// directory.
fn cannot_write(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "the disk is full: make room and try again".into(),
        _ => format!(
            "cannot write the file ({error}): see that the directory is there and that this user may write there, or \
             choose another directory"
        )
        .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("narrowboat-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_called_a_full_disk() {
        let directory = directory("full");
        let mut partial = Partial::create(&directory).unwrap();
        // The device that has no room: what the system says is what it says of a disk.
        partial.file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let failure = partial.write(b"too much").unwrap_err().to_string();
        assert_eq!(failure, "the disk is full: make room and try again");
        drop(partial);
        fs::remove_dir(directory).unwrap();
    }

    #[test]
    fn files_that_arrive_at_once_do_not_take_each_others_temporary_name() {
        let directory = directory("at-once");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..100).for_each(|_| drop(Partial::create(&directory).unwrap().keep("boat").unwrap())));
            }
        });
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 800);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_file_that_is_not_kept_leaves_nothing_and_one_that_is_replaces_nothing() {
        let directory = directory("partial");
        let mut partial = Partial::create(&directory).unwrap();
        partial.write(b"half").unwrap();
        drop(partial);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);

        for (content, name) in [("one", "boat.jpg"), ("two", "boat-1.jpg"), ("three", "boat-2.jpg")] {
            let mut partial = Partial::create(&directory).unwrap();
            partial.write(content.as_bytes()).unwrap();
            assert_eq!(partial.keep("boat.jpg").unwrap(), directory.join(name));
            assert_eq!(fs::read_to_string(directory.join(name)).unwrap(), content);
        }
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 3);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn what_a_killed_process_has_left_is_swept_and_nothing_else() {
        let directory = directory("sweep");
        let left = Partial::create(&directory).unwrap().path.clone();
        fs::write(&left, b"half").unwrap();
        let mut living = Partial::create(&directory).unwrap();
        let others = ["boat.jpg", ".narrowboat-.partial", ".narrowboat-0123456789abcde.partial", ".other-0.partial"];
        for name in others {
            fs::write(directory.join(name), b"whole").unwrap();
        }
        fs::create_dir(directory.join(".narrowboat-0123456789abcdef.partial")).unwrap();
        assert_eq!(sweep(&directory), 1);
        assert!(!left.exists());
        living.write(b"still arriving").unwrap();
        assert_eq!(fs::read(living.keep("kept").unwrap()).unwrap(), b"still arriving");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), others.len() + 2);
        assert_eq!(sweep(&directory), 0);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn files_that_are_created_during_a_sweep_are_not_swept() {
        let directory = directory("race");
        std::thread::scope(|scope| {
            let directory = &directory;
            let create = scope.spawn(move || {
                for n in 0..300 {
                    let mut partial = Partial::create(directory).unwrap();
                    partial.write(b"whole").unwrap();
                    partial.keep(&n.to_string()).unwrap();
                }
            });
            while !create.is_finished() {
                sweep(directory);
            }
        });
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 300);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_name_that_many_files_have_is_found_a_number_for_in_few_looks() {
        let directory = directory("numbers");
        for (taken, free) in [(0, 0), (1, 1), (2, 2), (7, 7), (100, 100)] {
            for number in 0..taken {
                fs::write(directory.join(numbered("boat.jpg", number)), b"").unwrap();
            }
            assert_eq!(free_number(&directory, "boat.jpg"), free);
        }
        fs::remove_dir_all(directory).unwrap();
    }
}
