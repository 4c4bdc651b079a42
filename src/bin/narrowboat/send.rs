//! `narrowboat send`.

use std::path::Path;
use std::time::Instant;

use indicatif::ProgressBar;
use narrowboat::{ChannelOptions, DataChannel, ReadyState};
use tokio::sync::mpsc;

use crate::address::CommandTarget;
use crate::arguments::Send;
use crate::file::{BLOCKS_MAX, Header, HeaderReply, PROTOCOL, encode_hash, joined};
use crate::network::{dial, hang_up, why};
use crate::source::FileSource;
use crate::{Failure, report};

pub(crate) async fn run(arguments: Send) -> Result<(), Failure> {
    let name = name(&arguments.file);
    let source = joined(tokio::task::spawn_blocking(move || FileSource::open(&arguments.file)).await)?;
    let target = CommandTarget::read(&arguments.target)?;
    if arguments.token.is_some() && matches!(target, CommandTarget::Address(_)) {
        return Err(
            "the token is not sent to an address, because anyone who sees the packets could read it: use a ticket"
                .into(),
        );
    }
    let header = Header { token: arguments.token, size: source.size(), name };

    let association = dial(&target).await?;
    let channel = association.open_channel(ChannelOptions::new(&header.name).protocol(PROTOCOL)).await?;
    let outcome = send(&channel, source, &header).await;
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
async fn send(channel: &DataChannel, source: FileSource, header: &Header) -> Result<(), Failure> {
    let start = Instant::now();
    let bar = report::bar(&header.name, header.size);
    let answer = receive_answer(channel);
    tokio::pin!(answer);
    let sent = tokio::select! {
        sent = send_file(channel, source, header, &bar) => sent,
        // Only bad news comes before the end.
        answer = &mut answer => return Err(premature(answer?)),
    };
    let hash = match sent {
        Ok(hash) => hash,
        // The receiver has closed the channel, and may have said why.
        Err(failure) if channel.ready_state() != ReadyState::Open => {
            return Err(answer.await.map_or(failure, premature));
        }
        Err(failure) => return Err(failure),
    };
    let answer = answer.await?;
    drop(bar);
    match answer {
        HeaderReply::Ok(theirs) if theirs == hash => {
            let rate = report::rate(header.size, start.elapsed());
            report::print_lines([
                &format!("sent {}, {rate}", header.name),
                &format!("SHA-256 {hash}, the same at both ends"),
            ]);
            Ok(())
        }
        HeaderReply::Ok(theirs) => {
            Err(format!("the file arrived damaged: SHA-256 {hash} here, {theirs} there: send it again").into())
        }
        HeaderReply::Error(why) => Err(refused(&why)),
    }
}

async fn send_file(
    channel: &DataChannel,
    source: FileSource,
    header: &Header,
    bar: &ProgressBar,
) -> Result<String, Failure> {
    channel.send(header.encode()).await.map_err(lost)?;
    let (blocks, mut read) = mpsc::channel(BLOCKS_MAX);
    let reader = tokio::task::spawn_blocking(move || source.read(&blocks));
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

async fn receive_answer(channel: &DataChannel) -> Result<HeaderReply, Failure> {
    let message = match channel.recv().await {
        Some(message) => message.map_err(lost)?,
        None => {
            return Err(
                "the receiver closed the channel without an answer: see what it says, and send the file again".into()
            );
        }
    };
    message.as_text().and_then(HeaderReply::decode).ok_or_else(|| {
        "the other end is not `narrowboat receive`, because its answer makes no sense: check the address".into()
    })
}

/// Returns the failure for an answer before the end of the file.
fn premature(answer: HeaderReply) -> Failure {
    match answer {
        HeaderReply::Error(why) => refused(&why),
        HeaderReply::Ok(_) => "the receiver confirmed a file that it cannot have".into(),
    }
}

/// Returns the failure for a receiver that is gone, or can no longer be reached.
fn lost(error: impl std::error::Error + 'static) -> Failure {
    format!("the file was not sent whole, because {}: send it again", why(&error)).into()
}

fn refused(why: &str) -> Failure {
    format!("the receiver does not have the file: {why}").into()
}

fn name(path: &Path) -> String {
    path.file_name().map_or_else(|| "file".to_owned(), |name| name.to_string_lossy().into_owned())
}
