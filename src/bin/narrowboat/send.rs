//! `narrowboat send`.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use indicatif::{MultiProgress, ProgressBar};
use narrowboat::{Bytes, ChannelOptions, DataChannel, ReadyState};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use crate::arguments::Send;
use crate::file::{Answer, BLOCK_SIZE, BLOCKS_MAX, Header, PROTOCOL, encode_hash, hex, joined};
use crate::network::{dial, hang_up};
use crate::{Failure, report};

pub(crate) async fn run(arguments: Send) -> Result<(), Failure> {
    let path = &arguments.file;
    let cannot_read = |error| {
        format!("cannot read {} ({error}): see that it is there and that this user may read it", path.display())
    };
    let file = File::open(path).map_err(cannot_read)?;
    let metadata = file.metadata().map_err(cannot_read)?;
    if !metadata.is_file() {
        return Err(format!("{} is not a file: pack it into one first", path.display()).into());
    }
    let header = Header { size: metadata.len(), name: name(path) };

    let association = dial(&arguments.target).await?;
    let channel = association.open_channel(ChannelOptions::new(&header.name).protocol(PROTOCOL)).await?;
    let outcome = send(&channel, file, &header).await;
    if outcome.is_err() {
        // Nobody wants the rest.
        drop(channel.close());
        channel.discard_unsent();
    } else {
        channel.close().await?;
    }
    hang_up(&association).await;
    outcome
}

/// Sends the file, until the receiver has said what it thinks of it.
async fn send(channel: &DataChannel, file: File, header: &Header) -> Result<(), Failure> {
    let start = Instant::now();
    let bars = MultiProgress::new();
    let bar = report::bar(&bars, &report::printable(&header.name), header.size);
    let answer = receive_answer(channel);
    tokio::pin!(answer);
    let sent = tokio::select! {
        sent = send_file(channel, file, header, &bar) => sent,
        // Only bad news comes before the end.
        answer = &mut answer => return match answer? {
            Answer::Error(why) => Err(refused(&why)),
            Answer::Ok(_) => Err("the receiver confirmed a file that it cannot have".into()),
        },
    };
    let hash = match sent {
        Ok(hash) => hash,
        // The receiver has closed the channel, and may have said why.
        Err(failure) if channel.ready_state() != ReadyState::Open => {
            return Err(answer.await.map_or(failure, |answer| match answer {
                Answer::Error(why) => refused(&why),
                Answer::Ok(_) => "the receiver confirmed a file that it cannot have".into(),
            }));
        }
        Err(failure) => return Err(failure),
    };
    let answer = answer.await?;
    bar.finish_and_clear();
    match answer {
        Answer::Ok(theirs) if theirs == hash => {
            let rate = report::rate(header.size, start.elapsed());
            report::print(&format!("sent {}, {rate}\nSHA-256 {hash}, the same at both ends", header.name));
            Ok(())
        }
        Answer::Ok(theirs) => {
            Err(format!("the file arrived damaged: SHA-256 {hash} here, {theirs} there: send it again").into())
        }
        Answer::Error(why) => Err(refused(&why)),
    }
}

async fn send_file(channel: &DataChannel, file: File, header: &Header, bar: &ProgressBar) -> Result<String, Failure> {
    channel.send(header.encode()).await.map_err(lost)?;
    let (blocks, mut read) = mpsc::channel(BLOCKS_MAX);
    let size = header.size;
    let reader = tokio::task::spawn_blocking(move || read_file(&file, size, &blocks));
    let mut accepted = 0;
    while let Some(block) = read.recv().await {
        accepted += block.len() as u64;
        channel.send(block).await.map_err(lost)?;
        bar.set_position(accepted.saturating_sub(channel.buffered_amount() as u64));
    }
    let hash = joined(reader.await)?;
    channel.send(encode_hash(&hash)).await.map_err(lost)?;
    Ok(hash)
}

/// Reads and hashes; the only work that may block.
fn read_file(mut file: &File, size: u64, blocks: &mpsc::Sender<Bytes>) -> Result<String, Failure> {
    let mut hash = Sha256::new();
    let mut left = size;
    while left > 0 {
        let mut block = Vec::with_capacity(BLOCK_SIZE);
        let read = Read::by_ref(&mut file).take(left.min(BLOCK_SIZE as u64)).read_to_end(&mut block);
        let read = read.map_err(|error| {
            format!("cannot read the file any further ({error}): see that its disk is there, and send it again")
        })?;
        if read == 0 {
            return Err("the file became shorter while it was sent: try again".into());
        }
        hash.update(&block);
        left -= read as u64;
        if blocks.blocking_send(block.into()).is_err() {
            break;
        }
    }
    Ok(hex(&hash.finalize()))
}

async fn receive_answer(channel: &DataChannel) -> Result<Answer, Failure> {
    let message = match channel.recv().await {
        Some(message) => message.map_err(lost)?,
        None => {
            return Err(
                "the receiver closed the channel without an answer: see what it says, and send the file again".into()
            );
        }
    };
    message.as_text().and_then(Answer::decode).ok_or_else(|| {
        "the other end is not `narrowboat receive`, because its answer makes no sense: check the address".into()
    })
}

/// The receiver is gone, or the way to it.
fn lost(error: impl std::fmt::Display) -> Failure {
    format!("the file was not sent whole, because {error}: send it again").into()
}

fn refused(why: &str) -> Failure {
    format!("the receiver does not have the file: {}", report::printable(why)).into()
}

fn name(path: &Path) -> String {
    path.file_name().map_or_else(|| "file".to_owned(), |name| name.to_string_lossy().into_owned())
}
