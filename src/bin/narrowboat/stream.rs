//! `narrowboat connect --bytes`: a byte stream whose directions end separately.

use std::future::pending;
use std::io::Error;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use narrowboat::{ByteReadHalf, ByteStream, ByteWriteHalf, DataChannel};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::time::Instant;

use crate::Failure;
use crate::stdio::{BLOCK_SIZE, input_error, output_error, wait_until_quiet};

/// Copies the input to the stream and the stream to the output, until both directions have ended and the channel is
/// closed. With `linger`, also until nothing has arrived for that long after the end of the input.
pub(crate) async fn copy(stream: ByteStream, linger: Option<Duration>) -> Result<(), Failure> {
    let channel = stream.channel().clone();
    let (read, write) = stream.into_split();
    let last_received = Mutex::new(Instant::now());
    // Kept until the other direction has ended: the peer may answer although it reads no more.
    let mut write_failure = None;
    let send = async {
        match send_input(write).await? {
            Ok(()) => {}
            Err(error) => write_failure = Some(error),
        }
        match linger {
            Some(linger) => wait_until_quiet(&last_received, linger).await,
            None => pending().await,
        }
        Ok(())
    };
    let outcome = tokio::select! {
        outcome = send => outcome,
        outcome = receive_output(read, &channel, &last_received) => outcome,
    };
    outcome.and(write_failure.map_or(Ok(()), |error| Err(error.into())))
}

/// Sends the input until its end, which ends this direction. The inner error is one of the stream.
async fn send_input(mut write: ByteWriteHalf) -> Result<Result<(), Error>, Failure> {
    let mut stdin = BufReader::with_capacity(BLOCK_SIZE, tokio::io::stdin());
    loop {
        let available = stdin.fill_buf().await.map_err(|error| input_error(&error))?;
        let count = available.len();
        let written = match count {
            0 => return Ok(write.shutdown().await),
            _ => write.write_all(available).await,
        };
        if written.is_err() {
            return Ok(written);
        }
        stdin.consume(count);
    }
}

/// Writes what arrives to the output, until the peer has ended its direction and the channel is closed.
async fn receive_output(
    mut read: ByteReadHalf,
    channel: &DataChannel,
    last_received: &Mutex<Instant>,
) -> Result<(), Failure> {
    let mut stdout = tokio::io::stdout();
    loop {
        let bytes = read.fill_buf().await?;
        if bytes.is_empty() {
            break;
        }
        stdout.write_all(bytes).await.and(stdout.flush().await).map_err(|error| output_error(&error))?;
        let count = bytes.len();
        read.consume(count);
        *last_received.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
    Ok(channel.closed().await?)
}
