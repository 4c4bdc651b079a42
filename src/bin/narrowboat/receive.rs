//! `narrowboat receive`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use narrowboat::{DataChannel, Incoming, Message};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::arguments::Receive;
use crate::file::{
    FileWriter, Header, HeaderReply, PROTOCOL, Pace, Partial, Turn, Turns, decode_hash, joined, safe_name, sweep,
};
use crate::{Failure, network, report};

/// Longest time that a sender may take to name a file. It has no turn in that time, so it delays no other sender.
const HEADER_TIME_MAX: Duration = Duration::from_secs(10);
/// Longest time that a sender may take to close the channel after the answer.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(10);
/// Channels of a sender. Each is a file.
const CHANNELS_MAX: usize = 256;
/// Delay of the answer to a wrong token, so that guessing takes long.
const WRONG_TOKEN_TIME: Duration = Duration::from_secs(1);

pub(crate) async fn run(arguments: Receive) -> Result<(), Failure> {
    if arguments.token.is_some() && arguments.listen.identity.is_none() {
        return Err("a token needs --identity FILE: without encryption, anyone who sees the packets can read it".into());
    }
    let into = arguments.into.clone();
    let swept = joined(tokio::task::spawn_blocking(move || prepare(&into)).await)?;
    if swept > 0 {
        report::print(&format!("removed what {swept} interrupted transfers had left"));
    }
    let what = format!("receiving into {}", arguments.into.display());
    let endpoint = network::listen(&arguments.listen, CHANNELS_MAX, &what).await?;
    if arguments.token.is_none() {
        let size = if arguments.max_size.is_none() { ", of any size: --max-size SIZE sets a limit," } else { ":" };
        report::print(&format!("anyone who can reach the port may send files{size} --token TOKEN asks for permission"));
    }

    let (done, mut outcomes) = mpsc::unbounded_channel();
    let receiver = Arc::new(FileReceiver {
        into: arguments.into,
        size_max: arguments.max_size.unwrap_or(u64::MAX),
        token: arguments.token.as_deref().map(digest),
        turns: Turns::new(),
        idle_time_max: Duration::from_secs(arguments.idle_timeout),
        // Only `--once` reads it.
        done: arguments.once.then_some(done),
    });
    let accept = async {
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(Arc::clone(&receiver).serve(incoming));
        }
    };
    tokio::select! {
        () = accept => Err("the endpoint was closed".into()),
        Some(outcome) = outcomes.recv() => {
            endpoint.close();
            let _ = tokio::time::timeout(CLOSE_TIME_MAX, endpoint.wait_idle()).await;
            outcome
        }
    }
}

/// Finds out that a directory cannot be written to before anyone sends. Returns the number of files that were left in
/// it by processes that had been killed, and are removed.
fn prepare(into: &Path) -> Result<usize, Failure> {
    if !into.is_dir() {
        return Err(format!("{} is not a directory: make it first", into.display()).into());
    }
    let swept = sweep(into);
    match Partial::create(into) {
        Ok(_) => Ok(swept),
        Err(failure) => Err(format!("nothing can be received into {}: {failure}", into.display()).into()),
    }
}

struct FileReceiver {
    into: PathBuf,
    size_max: u64,
    /// SHA-256 of the token that a sender must have; none if anyone may send.
    token: Option<[u8; 32]>,
    turns: Turns,
    /// Longest time that a sender may be connected without sending a file.
    idle_time_max: Duration,
    /// Results of the files, for --once; `None` without it.
    done: Option<mpsc::UnboundedSender<Result<(), Failure>>>,
}

impl FileReceiver {
    /// Takes every channel of one sender.
    async fn serve(self: Arc<Self>, incoming: Incoming) {
        let Ok(association) = incoming.await else { return };
        let peer = association.remote_address();
        let mut files = JoinSet::new();
        loop {
            tokio::select! {
                channel = association.accept_channel() => match channel {
                    Some(channel) => drop(files.spawn(Arc::clone(&self).receive(peer, channel))),
                    None => break,
                },
                Some(_) = files.join_next() => {}
                () = tokio::time::sleep(self.idle_time_max), if files.is_empty() => {
                    let seconds = self.idle_time_max.as_secs();
                    return association.abort(&format!("nothing was sent for {seconds} s: connect again to send"));
                }
            }
        }
        while files.join_next().await.is_some() {}
    }

    /// Takes one file, and tells the result: here, to the sender, and, if the sender may send, to the task that waits
    /// for it.
    async fn receive(self: Arc<Self>, peer: SocketAddr, channel: DataChannel) {
        let (outcome, is_admitted) = match self.admit(peer, &channel).await {
            Ok((header, turn)) => {
                let outcome = self.receive_file(peer, &channel, &header).await;
                drop(turn);
                (outcome, true)
            }
            Err(failure) => (Err(failure), false),
        };
        let answer = match &outcome {
            Ok(hash) => HeaderReply::Ok(hash.clone()),
            Err(failure) => HeaderReply::Error(failure.to_string()),
        };
        if let Err(failure) = &outcome {
            report::print(&format!("{peer}: {failure}"));
        }
        let answered = channel.send(answer.encode()).await;
        let _ = tokio::time::timeout(CLOSE_TIME_MAX, wait_for_close(&channel)).await;
        drop(channel.close());
        if let Some(done) = self.done.as_ref().filter(|_| is_admitted) {
            let _ = done.send(outcome.and_then(|_| Ok(answered?)));
        }
    }

    /// Waits until the sender has named a file and may send it.
    async fn admit(&self, peer: SocketAddr, channel: &DataChannel) -> Result<(Header, Turn), Failure> {
        if channel.protocol() != PROTOCOL {
            return Err(format!("this end takes files, as {PROTOCOL}: use narrowboat send").into());
        }
        let first = tokio::time::timeout(HEADER_TIME_MAX, next(channel)).await;
        let first = first.map_err(|_| format!("no file was named for {} seconds", HEADER_TIME_MAX.as_secs()))??;
        let Message::Text(header) = first else { return Err("the first message is not text".into()) };
        let header = Header::decode(&header).ok_or("the first message does not say which file it is")?;
        let turn = self.turns.of_sender(peer.ip()).await;
        if let Some(token) = &self.token {
            let Some(theirs) = &header.token else {
                return Err("this end asks for a token: get it from the receiver, and use --token".into());
            };
            // The hashes are compared, so not even the length of the token shows in the time that it takes.
            if !bool::from(digest(theirs).ct_eq(token)) {
                tokio::time::sleep(WRONG_TOKEN_TIME).await;
                return Err("the token is wrong: get the right one from the receiver".into());
            }
        }
        let turn = self.turns.of_all(turn).await.ok_or("this end receives no more files")?;
        Ok((header, turn))
    }

    /// Returns the SHA-256 of a file that is complete and has its name.
    async fn receive_file(&self, peer: SocketAddr, channel: &DataChannel, header: &Header) -> Result<String, Failure> {
        let size = header.size;
        if size > self.size_max {
            let (size_max, unit) = (self.size_max, report::size(self.size_max));
            return Err(format!(
                "a file of {size} bytes is above the limit of {size_max} ({unit}): send a smaller one"
            )
            .into());
        }
        let start = Instant::now();
        let name = safe_name(&header.name);
        let bar = report::bar(&name, size);
        let mut writer = FileWriter::start(self.into.clone(), size).await?;
        let mut pace = Pace::new();
        let mut left = size;
        let expected = loop {
            match pace.wait(next(channel)).await?? {
                Message::Binary(block) => {
                    let len = block.len();
                    left = left.checked_sub(len as u64).ok_or("the file is larger than the sender had said")?;
                    pace.pause(writer.write(block)).await?;
                    pace.on_bytes(len);
                    bar.inc(len as u64);
                }
                Message::Text(_) if left > 0 => return Err("the file is shorter than the sender had said".into()),
                Message::Text(text) => break decode_hash(&text).ok_or("the last message does not say the SHA-256")?,
            }
        };
        let written = writer.finish().await?;
        let hash = written.hash.clone();
        if hash != expected {
            return Err(
                format!("the file arrived damaged: SHA-256 {expected} there, {hash} here: have it sent again").into()
            );
        }
        let path = written.keep(name).await?;
        drop(bar);
        let rate = report::rate(size, start.elapsed());
        report::print_lines([
            &format!("{peer}: received {}, {rate}", path.display()),
            &format!("SHA-256 {hash}, the same at both ends"),
        ]);
        Ok(hash)
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

async fn next(channel: &DataChannel) -> Result<Message, Failure> {
    match channel.recv().await {
        Some(Ok(message)) => Ok(message),
        Some(Err(error)) => {
            let why = network::why(&error);
            Err(format!("the file did not arrive whole, because {why}: have it sent again").into())
        }
        None => Err("the sender closed the channel in the middle of the file: have it sent again".into()),
    }
}

/// Waits until the sender has read the answer and closes. Messages that it sends meanwhile are discarded.
async fn wait_for_close(channel: &DataChannel) {
    while let Some(Ok(_)) = channel.recv().await {}
}
