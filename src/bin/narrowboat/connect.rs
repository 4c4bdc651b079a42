//! `narrowboat connect`.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use narrowboat::error::SendError;
use narrowboat::{DataChannel, Message};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Stdin};
use tokio::time::Instant;

use crate::Failure;
use crate::address::CommandTarget;
use crate::arguments::Connect;
use crate::network::{dial, hang_up};
use crate::stdio::{BLOCK_SIZE, input_error, output_error, wait_until_quiet};
use crate::stream;
use crate::text::printable;

/// Seconds of silence after which a channel without half close is closed.
const LINGER_DEFAULT: f64 = 1.0;
/// Longest time that both ends may take to close the channel.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(30);

pub(crate) async fn run(arguments: Connect) -> Result<(), Failure> {
    let association = dial(&CommandTarget::read(&arguments.target)?).await?;
    let channel = association.open_channel(arguments.options()).await?;
    let outcome = if arguments.has_half_close() {
        let linger = arguments.linger.map(Duration::from_secs_f64);
        stream::copy(channel.clone().into_byte_stream(), linger).await
    } else {
        talk(&channel, &arguments, association.max_message_size()).await
    };
    let closed = tokio::time::timeout(CLOSE_TIME_MAX, channel.close()).await;
    hang_up(&association).await;
    outcome?;
    Ok(closed.map_err(
        |_| "the other end did not close the channel in time: what was sent last may not have arrived there",
    )??)
}

/// Copies in both directions at once, until the other end closes, or this one has had no input and nothing to output
/// for a while. Neither direction waits for the other: two ends that each wait to be read from before they read would
/// wait for ever.
async fn talk(channel: &DataChannel, arguments: &Connect, message_size_max: usize) -> Result<(), Failure> {
    let linger = Duration::from_secs_f64(arguments.linger.unwrap_or(LINGER_DEFAULT));
    let last_received = Mutex::new(Instant::now());
    let send = async {
        send_input(channel, arguments.bytes, message_size_max).await?;
        wait_until_quiet(&last_received, linger).await;
        Ok(())
    };
    tokio::select! {
        outcome = send => outcome,
        outcome = write_output(channel, arguments.bytes, &last_received) => outcome,
    }
}

/// Sends the input until its end.
async fn send_input(channel: &DataChannel, bytes: bool, message_size_max: usize) -> Result<(), Failure> {
    let mut stdin = BufReader::with_capacity(BLOCK_SIZE, tokio::io::stdin());
    let size_max = if bytes { BLOCK_SIZE.min(message_size_max) } else { message_size_max };
    loop {
        let mut piece = Vec::new();
        // One byte more than allowed, for the end of the line, and to tell a line that is too long.
        let read = match bytes {
            true => read_some(&mut stdin, size_max, &mut piece).await,
            false => (&mut stdin).take(size_max as u64 + 1).read_until(b'\n', &mut piece).await,
        };
        if read.map_err(|error| input_error(&error))? == 0 {
            return Ok(());
        }
        let message = if bytes { Message::from(piece) } else { line(piece) };
        if message.len() > size_max {
            return Err(format!("a line is longer than a message may be, {size_max} bytes: use --bytes").into());
        }
        match channel.send(message).await {
            Ok(()) => {}
            // The other end closes; the other direction says how that went.
            Err(SendError::NotOpen(_)) => std::future::pending().await,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads the input that is available, without waiting for more.
async fn read_some(stdin: &mut BufReader<Stdin>, size_max: usize, piece: &mut Vec<u8>) -> std::io::Result<usize> {
    let available = stdin.fill_buf().await?;
    piece.extend_from_slice(available.get(..size_max).unwrap_or(available));
    stdin.consume(piece.len());
    Ok(piece.len())
}

/// Returns a line without its line end, as text if it is UTF-8.
fn line(mut line: Vec<u8>) -> Message {
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    String::from_utf8(line).map_or_else(|error| error.into_bytes().into(), Message::from)
}

/// Writes what arrives to the output, until the channel is closed.
async fn write_output(channel: &DataChannel, bytes: bool, last_received: &Mutex<Instant>) -> Result<(), Failure> {
    let is_for_eyes = !bytes && std::io::stdout().is_terminal();
    let mut stdout = tokio::io::stdout();
    while let Some(message) = channel.recv().await {
        let message = message?;
        let mut written = match is_for_eyes {
            true => stdout.write_all(printable(&String::from_utf8_lossy(message.as_bytes())).as_bytes()).await,
            false => stdout.write_all(message.as_bytes()).await,
        };
        if !bytes {
            written = written.and(stdout.write_all(b"\n").await);
        }
        written.and(stdout.flush().await).map_err(|error| output_error(&error))?;
        *last_received.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
    Ok(())
}
