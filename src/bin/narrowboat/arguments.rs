//! What can be typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use narrowboat::ChannelOptions;

/// Sends files and messages over SCTP data channels on UDP. The traffic is neither encrypted nor authenticated: use it on
/// networks that you trust.
#[derive(Debug, Parser)]
#[command(name = "narrowboat", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Receive files that others send here
    Receive(Receive),
    /// Send a file to someone who receives
    Send(Send),
    /// Send every message back to where it came from
    Echo(Echo),
    /// Open a channel, and connect it to the terminal
    Connect(Connect),
}

/// Every file arrives under a temporary name, and gets its own when it is complete and its SHA-256 is the sender's. A file
/// that exists is never overwritten: the new one gets a number.
#[derive(Debug, Args)]
pub(crate) struct Receive {
    /// Address and port to listen on, like 0.0.0.0:4433 or [::]:4433
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: String,
    /// Directory for the files
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) into: PathBuf,
    /// End after one file; the exit status says whether it arrived
    #[arg(long)]
    pub(crate) once: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Send {
    /// The file
    pub(crate) file: PathBuf,
    /// Where `narrowboat receive` listens
    #[arg(value_name = "ADDRESS:PORT")]
    pub(crate) address: String,
}

#[derive(Debug, Args)]
pub(crate) struct Echo {
    /// Address and port to listen on, like 0.0.0.0:4433 or [::]:4433
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: String,
}

/// Each line of the input is sent as a text message, and each message that arrives is a line of the output; with --bytes,
/// both are streams of bytes. By default the channel is reliable and ordered.
#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// Whom to connect to
    #[arg(value_name = "ADDRESS:PORT")]
    pub(crate) address: String,
    /// Name of the channel
    #[arg(long, default_value = "narrowboat")]
    pub(crate) label: String,
    /// What is spoken on the channel
    #[arg(long, default_value = "")]
    pub(crate) protocol: String,
    /// Deliver messages as they arrive, so that a lost one does not hold up the next; they may change places
    #[arg(long)]
    pub(crate) unordered: bool,
    /// Give a message up after so many retransmissions; 0 sends each once, and what is lost stays lost
    #[arg(long, value_name = "COUNT", conflicts_with = "max_packet_life_time")]
    pub(crate) max_retransmits: Option<u32>,
    /// Give a message up so many milliseconds after it was typed, delivered or not
    #[arg(long, value_name = "MILLISECONDS")]
    pub(crate) max_packet_life_time: Option<u32>,
    /// Input and output are lines, one for each message (the default)
    #[arg(long, conflicts_with = "bytes")]
    pub(crate) messages: bool,
    /// Input and output are bytes, whatever the messages they travel in
    #[arg(long)]
    pub(crate) bytes: bool,
    /// After the end of the input, close once nothing has arrived for so many seconds. A data channel closes in both
    /// directions at once, and what the other end has not sent by then is lost
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    pub(crate) linger: f64,
}

impl Connect {
    pub(crate) fn options(&self) -> ChannelOptions {
        let mut options = ChannelOptions::new(&self.label).protocol(&self.protocol);
        if self.unordered {
            options = options.unordered();
        }
        if let Some(count) = self.max_retransmits {
            options = options.max_retransmits(count);
        }
        if let Some(milliseconds) = self.max_packet_life_time {
            options = options.max_packet_life_time(Duration::from_millis(milliseconds.into()));
        }
        options
    }
}

fn seconds(argument: &str) -> Result<f64, String> {
    match argument.parse() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("a number of seconds from 0 to 86400 is needed".to_owned()),
    }
}
