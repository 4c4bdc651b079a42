//! Writes a file that arrives, on a thread that may block.

use std::path::{Path, PathBuf};

use narrowboat::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::partial::Partial;
use super::room::check_room;
use crate::Failure;

/// Blocks between the channel and the disk: 1 MiB of 64 KiB each, so that neither waits for the other's hiccups.
const BLOCKS_MAX: usize = 16;
/// Bytes between two looks at the room on the disk.
const ROOM_INTERVAL: u64 = 64 << 20;

/// A file on its way to the disk. Dropping it removes the file.
pub(crate) struct FileWriter {
    blocks: mpsc::Sender<Bytes>,
    task: JoinHandle<Result<Written, Failure>>,
}

/// A file that is written and has no name yet.
pub(crate) struct Written {
    partial: Partial,
    /// SHA-256 of its bytes, in 64 hexadecimal digits.
    pub(crate) hash: String,
}

impl FileWriter {
    /// Begins a file of `size` bytes in the directory `into`, if there is room for it.
    pub(crate) async fn start(into: PathBuf, size: u64) -> Result<Self, Failure> {
        let create = tokio::task::spawn_blocking(move || {
            check_room(&into, size)?;
            Ok::<_, Failure>((Partial::create(&into)?, into))
        });
        let (partial, into) = create.await.map_err(|error| ended_early(&error))??;
        let (blocks, arrived) = mpsc::channel(BLOCKS_MAX);
        let task = tokio::task::spawn_blocking(move || write(&into, partial, arrived));
        Ok(Self { blocks, task })
    }

    /// Appends to the file; waits while the disk is slow.
    pub(crate) async fn write(&mut self, block: Bytes) -> Result<(), Failure> {
        if self.blocks.send(block).await.is_ok() {
            return Ok(());
        }
        Err(match (&mut self.task).await {
            Ok(Err(failure)) => failure,
            Ok(Ok(_)) => "the file was closed too early: have it sent again".into(),
            Err(error) => ended_early(&error),
        })
    }

    /// Waits until all is written.
    pub(crate) async fn finish(self) -> Result<Written, Failure> {
        drop(self.blocks);
        self.task.await.map_err(|error| ended_early(&error))?
    }
}

impl Written {
    /// Brings the file to the disk and gives it its name; returns its path.
    pub(crate) async fn keep(self, name: String) -> Result<PathBuf, Failure> {
        let kept = tokio::task::spawn_blocking(move || self.partial.keep(&name));
        kept.await.map_err(|error| ended_early(&error))?
    }
}

fn write(into: &Path, mut partial: Partial, mut blocks: mpsc::Receiver<Bytes>) -> Result<Written, Failure> {
    let mut hash = Sha256::new();
    let mut since_look = 0;
    while let Some(block) = blocks.blocking_recv() {
        hash.update(&block);
        partial.write(&block)?;
        since_look += block.len() as u64;
        if since_look >= ROOM_INTERVAL {
            since_look = 0;
            // Other files take room meanwhile.
            check_room(into, 0)?;
        }
    }
    let hash = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Written { partial, hash })
}

fn ended_early(error: &tokio::task::JoinError) -> Failure {
    format!("a task ended early: {error}").into()
}
