//! A file that is still arriving.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::Failure;

/// Numbers tried for a file whose name is taken.
const NUMBERS_MAX: u32 = 10_000;

/// A file under a temporary name, which is removed unless the file is [kept](Self::keep). So the name that the file is to
/// have never stands for half of it.
#[derive(Debug)]
pub(crate) struct Partial {
    file: File,
    path: PathBuf,
    directory: PathBuf,
    /// It has its name, and the temporary one may be another file's already.
    is_kept: bool,
}

impl Partial {
    /// A new file in `directory`.
    pub(crate) fn create(directory: &Path) -> Result<Self, Failure> {
        for number in 0..NUMBERS_MAX {
            let path = directory.join(format!(".narrowboat-{}-{number}.partial", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok(Self { file, path, directory: directory.to_owned(), is_kept: false }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(cannot("write to", directory, &error)),
            }
        }
        Err(format!("{} is full of unfinished files: remove .narrowboat-*.partial", directory.display()).into())
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).map_err(|error| cannot("write to", &self.directory, &error))
    }

    /// Brings the file to the disk, and gives it the name, or one with a number if that is taken. Returns its path.
    pub(crate) fn keep(mut self, name: &str) -> Result<PathBuf, Failure> {
        self.file.sync_all().map_err(|error| cannot("write to", &self.directory, &error))?;
        for number in 0..NUMBERS_MAX {
            let path = self.directory.join(numbered(name, number));
            match rename_new(&self.path, &path) {
                Ok(()) => {
                    self.is_kept = true;
                    sync_directory(&self.directory);
                    return Ok(path);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(cannot("give a file its name in", &self.directory, &error)),
            }
        }
        Err(format!("{} has {NUMBERS_MAX} files of the name {name}: move some away", self.directory.display()).into())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = fs::remove_file(&self.path);
        }
    }
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

/// After this the name survives a power cut too. Systems on which a directory cannot be opened do it by themselves.
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

fn cannot(what: &str, directory: &Path, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("the disk of {} is full: make room and try again", directory.display()).into()
        }
        _ => format!(
            "cannot {what} {} ({error}): see that it is there and that this user may write there, or choose another directory",
            directory.display()
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
        assert_eq!(failure, format!("the disk of {} is full: make room and try again", directory.display()));
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
}
