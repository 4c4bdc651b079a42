//! A file that is sent.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use narrowboat::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use crate::Failure;
use crate::file::{BLOCK_SIZE, hex};

/// A file that says it is no longer than this is read before its size is announced. Files of /proc and /sys say that
/// they have 0 or 4,096 bytes, and have more or fewer.
const DOUBTED_SIZE_MAX: u64 = 64 << 10;
/// Most that is read of such a file.
const READ_AHEAD_MAX: u64 = 16 << 20;

/// A file that is open for reading. All its functions may block.
pub(crate) struct FileSource {
    file: File,
    /// The whole file, if it was read ahead.
    ahead: Option<Bytes>,
    size: u64,
}

impl FileSource {
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let cannot_read = |error: io::Error| {
            format!("cannot read {} ({error}): see that it is there and that this user may read it", path.display())
        };
        let check = |metadata: &fs::Metadata| match metadata.is_file() {
            true => Ok(metadata.len()),
            false if metadata.is_dir() => Err(format!("{} is not a file: pack it into one first", path.display())),
            false => Err(format!("{} is not a file: copy what comes out of it into one first", path.display())),
        };
        // Before it is opened, because opening a pipe waits for its writer; and after, because it may be another file
        // now.
        check(&fs::metadata(path).map_err(cannot_read)?)?;
        let mut file = File::open(path).map_err(cannot_read)?;
        let size = check(&file.metadata().map_err(cannot_read)?)?;
        if size > DOUBTED_SIZE_MAX {
            return Ok(Self { file, ahead: None, size });
        }
        let mut ahead = Vec::new();
        Read::by_ref(&mut file).take(READ_AHEAD_MAX + 1).read_to_end(&mut ahead).map_err(cannot_read)?;
        let size = ahead.len() as u64;
        if size > READ_AHEAD_MAX {
            return Err(format!("{} does not say how long it is: send a copy of it", path.display()).into());
        }
        Ok(Self { file, ahead: Some(ahead.into()), size })
    }

    /// Returns the number of bytes that [`read`](Self::read) passes on; `read` fails if there are fewer or more.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Passes the file on in blocks. Returns its SHA-256.
    pub(crate) fn read(mut self, blocks: &mpsc::Sender<Bytes>) -> Result<String, Failure> {
        let mut hash = Sha256::new();
        let mut left = self.size;
        while left > 0 {
            let block = self.next(left)?;
            if block.is_empty() {
                return Err("the file became shorter while it was sent: try again".into());
            }
            hash.update(&block);
            left -= block.len() as u64;
            if blocks.blocking_send(block).is_err() {
                return Ok(hex(&hash.finalize()));
            }
        }
        if self.ahead.is_none() && !self.next(1)?.is_empty() {
            return Err("the file grew while it was sent: send it when it is complete, or send a copy of it".into());
        }
        Ok(hex(&hash.finalize()))
    }

    /// Returns the next block, of at most `left` bytes; empty at the end of the file.
    fn next(&mut self, left: u64) -> Result<Bytes, Failure> {
        if let Some(ahead) = &mut self.ahead {
            return Ok(ahead.split_to(ahead.len().min(BLOCK_SIZE)));
        }
        let mut block = Vec::with_capacity(BLOCK_SIZE);
        Read::by_ref(&mut self.file).take(left.min(BLOCK_SIZE as u64)).read_to_end(&mut block).map_err(|error| {
            format!("cannot read the file any further ({error}): see that its disk is there, and send it again")
        })?;
        Ok(block.into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn directory(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("narrowboat-source-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn read(source: FileSource) -> (Vec<u8>, Result<String, Failure>) {
        let (blocks, mut read) = mpsc::channel(100_000);
        let outcome = source.read(&blocks);
        drop(blocks);
        let mut bytes = Vec::new();
        while let Some(block) = read.blocking_recv() {
            bytes.extend_from_slice(&block);
        }
        (bytes, outcome)
    }

    #[test]
    fn a_file_of_each_size_is_read_to_its_end() {
        let directory = directory("sizes");
        let path = directory.join("file");
        for size in [0, 1, 65_535, 65_536, 65_537, 300_000] {
            let bytes: Vec<u8> = (0..size).map(|n: u32| n.to_le_bytes()[(n % 3) as usize]).collect();
            fs::write(&path, &bytes).unwrap();
            let source = FileSource::open(&path).unwrap();
            assert_eq!(source.size(), u64::from(size));
            let (read, hash) = read(source);
            assert!(read == bytes, "{size}");
            assert_eq!(hash.unwrap(), hex(&Sha256::digest(&bytes)));
        }
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_file_that_changes_its_size_is_not_cut() {
        let directory = directory("changes");
        let path = directory.join("file");
        for (size, expected) in [(300_001, "the file grew"), (100_000, "the file became shorter")] {
            fs::write(&path, vec![1; 300_000]).unwrap();
            let source = FileSource::open(&path).unwrap();
            File::options().write(true).open(&path).unwrap().set_len(size).unwrap();
            let failure = read(source).1.unwrap_err().to_string();
            assert!(failure.contains(expected), "{failure}");
        }
        // A small one is sent as it was when it was read.
        fs::write(&path, b"small").unwrap();
        let source = FileSource::open(&path).unwrap();
        File::options().append(true).open(&path).unwrap().write_all(b" and more").unwrap();
        assert_eq!(read(source).0, b"small");
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_file_that_says_nothing_of_its_size_is_read_whole() {
        let source = FileSource::open(Path::new("/proc/cpuinfo")).unwrap();
        assert!(source.size() > 0);
        assert_eq!(source.size(), read(source).0.len() as u64);
        // It says 4,096.
        let source = FileSource::open(Path::new("/sys/kernel/mm/transparent_hugepage/enabled"));
        if let Ok(source) = source {
            let size = source.size();
            let (bytes, outcome) = read(source);
            assert!(outcome.is_ok() && bytes.len() as u64 == size && size < 4_096);
        }
    }
}
