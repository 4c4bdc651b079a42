//! `narrowboat receive`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar};
use narrowboat::{Association, Bytes, DataChannel, Incoming, Message};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use crate::arguments::Receive;
use crate::file::{Answer, BLOCKS_MAX, Header, PROTOCOL, Partial, decode_hash, hex, joined, safe_name};
use crate::{Failure, network, report};

/// How long a sender may take to close the channel after the answer.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(10);
/// Files that arrive at the same time, over all senders. More have to wait for their turn.
const FILES_MAX: usize = 64;

pub(crate) async fn run(arguments: Receive) -> Result<(), Failure> {
    let into = &arguments.into;
    if !into.is_dir() {
        return Err(format!("{} is not a directory: make it first", into.display()).into());
    }
    // A directory that cannot be written to is better found out before anyone sends.
    drop(Partial::create(into)?);
    let endpoint = network::listen(&arguments.listen, &format!("receiving into {}", into.display()))?;

    let receiver = Arc::new(Receiver {
        into: into.clone(),
        bars: MultiProgress::new(),
        turns: tokio::sync::Semaphore::new(FILES_MAX),
    });
    let (done, mut outcomes) = mpsc::unbounded_channel();
    let accept = async {
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(Arc::clone(&receiver).serve(incoming, done.clone()));
        }
    };
    tokio::select! {
        () = accept => Err("the endpoint was closed".into()),
        outcome = first_if(arguments.once, &mut outcomes) => {
            endpoint.close();
            let _ = tokio::time::timeout(CLOSE_TIME_MAX, endpoint.wait_idle()).await;
            outcome
        }
    }
}

/// The first outcome; never, if there is to be no end. The others have been said already.
async fn first_if(once: bool, outcomes: &mut mpsc::UnboundedReceiver<Result<(), Failure>>) -> Result<(), Failure> {
    loop {
        match outcomes.recv().await {
            Some(outcome) if once => return outcome,
            Some(_) => {}
            None => std::future::pending().await,
        }
    }
}

type Outcomes = mpsc::UnboundedSender<Result<(), Failure>>;

struct Receiver {
    into: PathBuf,
    bars: MultiProgress,
    turns: tokio::sync::Semaphore,
}

impl Receiver {
    /// Takes every channel of one sender.
    async fn serve(self: Arc<Self>, incoming: Incoming, done: Outcomes) {
        let Ok(association) = incoming.await else { return };
        while let Some(channel) = association.accept_channel().await {
            tokio::spawn(Arc::clone(&self).receive(association.clone(), channel, done.clone()));
        }
    }

    /// Takes one file, and says how it went: here, to the sender, and to whoever waits.
    async fn receive(self: Arc<Self>, association: Association, channel: DataChannel, done: Outcomes) {
        let peer = association.remote_address();
        let Ok(_turn) = self.turns.acquire().await else { return };
        let outcome = self.receive_file(peer, &channel).await;
        let answer = match &outcome {
            Ok(hash) => Answer::Ok(hash.clone()),
            Err(failure) => Answer::Error(failure.to_string()),
        };
        if let Err(failure) = &outcome {
            report::say(&self.bars, &format!("{peer}: {failure}"));
        }
        let answered = channel.send(answer.encode()).await;
        let _ = tokio::time::timeout(CLOSE_TIME_MAX, wait_for_close(&channel)).await;
        drop(channel.close());
        let _ = done.send(outcome.and_then(|_| Ok(answered?)));
    }

    /// Returns the SHA-256 of a file that is complete and has its name.
    async fn receive_file(&self, peer: SocketAddr, channel: &DataChannel) -> Result<String, Failure> {
        if channel.protocol() != PROTOCOL {
            return Err(format!("this end takes files, as {PROTOCOL}: use narrowboat send").into());
        }
        let Message::Text(header) = next(channel).await? else { return Err("the first message is no text".into()) };
        let header = Header::decode(&header).ok_or("the first message does not say which file it is")?;
        let start = Instant::now();
        let name = safe_name(&header.name);
        let bar = report::bar(&self.bars, &name, header.size);
        let (blocks, arrived) = mpsc::channel(BLOCKS_MAX);
        let into = self.into.clone();
        let writer = tokio::task::spawn_blocking(move || write_file(&into, arrived));
        let expected = receive_blocks(channel, header.size, blocks, &bar).await;
        // If the writer has failed, that is why the rest did, too.
        let (partial, hash) = joined(writer.await)?;
        let expected = expected?;
        if hash != expected {
            return Err(
                format!("the file arrived damaged: SHA-256 {expected} there, {hash} here: have it sent again").into()
            );
        }
        let path = joined(tokio::task::spawn_blocking(move || partial.keep(&name)).await)?;
        bar.finish_and_clear();
        let rate = report::rate(header.size, start.elapsed());
        report::say(
            &self.bars,
            &format!("{peer}: received {}, {rate}\nSHA-256 {hash}, the same at both ends", path.display()),
        );
        Ok(hash)
    }
}

/// Passes the file's bytes to the writer. Returns the sender's hash.
async fn receive_blocks(
    channel: &DataChannel,
    size: u64,
    blocks: mpsc::Sender<Bytes>,
    bar: &ProgressBar,
) -> Result<String, Failure> {
    let mut left = size;
    loop {
        match next(channel).await? {
            Message::Binary(block) => {
                left = left.checked_sub(block.len() as u64).ok_or("the file is larger than the sender had said")?;
                bar.inc(block.len() as u64);
                blocks.send(block).await.map_err(|_| "the file cannot be written")?;
            }
            Message::Text(_) if left > 0 => return Err("the file is shorter than the sender had said".into()),
            Message::Text(text) => {
                return Ok(decode_hash(&text).ok_or("the last message does not say the SHA-256")?.to_owned());
            }
        }
    }
}

/// Writes and hashes; the only work that may block.
fn write_file(into: &Path, mut blocks: mpsc::Receiver<Bytes>) -> Result<(Partial, String), Failure> {
    let mut partial = Partial::create(into)?;
    let mut hash = Sha256::new();
    while let Some(block) = blocks.blocking_recv() {
        hash.update(&block);
        partial.write(&block)?;
    }
    Ok((partial, hex(&hash.finalize())))
}

async fn next(channel: &DataChannel) -> Result<Message, Failure> {
    match channel.recv().await {
        Some(Ok(message)) => Ok(message),
        Some(Err(error)) => Err(format!("the file did not arrive whole, because {error}: have it sent again").into()),
        None => Err("the sender closed the channel in the middle of the file: have it sent again".into()),
    }
}

/// Until the sender has read the answer, and closes. What it sends meanwhile is of no use any more.
async fn wait_for_close(channel: &DataChannel) {
    while let Some(Ok(_)) = channel.recv().await {}
}
