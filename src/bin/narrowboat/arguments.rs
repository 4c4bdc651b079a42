//! Command-line arguments.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use narrowboat::{ByteStream, ChannelOptions};

use crate::file::parse_size;

/// Sends files and messages over data channels on one UDP port. What goes to a ticket is encrypted, for the one that
/// has the ticket's certificate. What goes to an address is neither encrypted nor authenticated: do that on networks
/// that you trust.
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

/// Every file arrives under a temporary name, and gets its own when it is complete and its SHA-256 is the sender's. A
/// file that exists is never overwritten: the new one gets a number.
///
/// Without --token, anyone who can reach the port may send files. A part of the disk always stays free: 5 %, or 1 GiB
/// if that is less.
#[derive(Debug, Args)]
pub(crate) struct Receive {
    #[command(flatten)]
    pub(crate) listen: Listen,
    /// Directory for the files
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) into: PathBuf,
    /// End after one file; the exit status says whether it arrived. A peer that names no file, or does not have the
    /// token, does not count
    #[arg(long)]
    pub(crate) once: bool,
    /// Refuse files above this size: a number of bytes, or of KiB, MiB, GiB or TiB, like 500M or 2G
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) max_size: Option<u64>,
    /// Refuse senders that do not have this token, of 8 to 256 characters. It goes over the network, so it needs
    /// --identity, which encrypts. The environment does not show it to other users of this machine, as an argument does
    #[arg(long, value_name = "TOKEN", env = "NARROWBOAT_TOKEN", hide_env_values = true, value_parser = token)]
    pub(crate) token: Option<String>,
    /// End the connection of a sender that sends nothing for this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) idle_timeout: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Send {
    /// The file
    pub(crate) file: PathBuf,
    /// The ticket that `narrowboat receive --identity` prints; or the address and port of one without (not encrypted)
    pub(crate) target: String,
    /// The token that the receiver asks for. It is only sent to a ticket, encrypted
    #[arg(long, value_name = "TOKEN", env = "NARROWBOAT_TOKEN", hide_env_values = true, value_parser = token)]
    pub(crate) token: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Echo {
    #[command(flatten)]
    pub(crate) listen: Listen,
}

/// Listen address and identity of the command.
#[derive(Debug, Args)]
pub(crate) struct Listen {
    /// Address and port to listen on, like 0.0.0.0:4433 or [::]:4433
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: String,
    /// Encrypt, with the key and certificate in this file, which is created if there is none. The ticket that peers
    /// need is the first and only line of the output; it stays good as long as the file and the address do
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
    /// Address of this machine for the ticket, if it is behind a NAT or in a container; may be given several
    /// times
    #[arg(long, value_name = "ADDRESS:PORT", requires = "identity", value_parser = address)]
    pub(crate) advertise: Vec<SocketAddr>,
}

/// Each line of the input is sent as a text message, and each message that arrives is a line of the output; with
/// --bytes, both are streams of bytes. On a terminal, control characters in a line are replaced. By default the channel
/// is reliable and ordered.
///
/// With --bytes each direction ends separately: the end of the input is sent to the other end, and the command goes on
/// until the other end has ended its direction too. The channel has the protocol name narrowboat.stream.v1. An end that
/// does not know that protocol never ends its direction: use --linger, or --protocol with another name, which may be
/// empty.
#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// The ticket of a service; or the address and port of one without (not encrypted)
    pub(crate) target: String,
    /// Name of the channel
    #[arg(long, default_value = "narrowboat")]
    pub(crate) label: String,
    /// Subprotocol name of the channel; empty by default, and narrowboat.stream.v1 with --bytes
    #[arg(long)]
    pub(crate) protocol: Option<String>,
    /// Deliver messages as they arrive, so that a lost one does not hold up the next; they may change places
    #[arg(long)]
    pub(crate) unordered: bool,
    /// Abandon a message after this many retransmissions; with 0 each message is sent once and a lost one stays lost
    #[arg(long, value_name = "COUNT", conflicts_with = "max_packet_life_time")]
    pub(crate) max_retransmits: Option<u32>,
    /// Abandon a message this many milliseconds after it was typed, delivered or not
    #[arg(long, value_name = "MILLISECONDS")]
    pub(crate) max_packet_life_time: Option<u32>,
    /// Input and output are lines, one for each message (the default)
    #[arg(long, conflicts_with = "bytes")]
    pub(crate) messages: bool,
    /// Input and output are bytes, whatever the messages they travel in
    #[arg(long)]
    pub(crate) bytes: bool,
    /// After the end of the input, close once nothing has arrived for this many seconds (1 by default). A data channel
    /// closes in both directions at once, and what the other end has not sent by then is lost. With --bytes there is no
    /// such limit by default
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) linger: Option<f64>,
}

impl Connect {
    /// True if each direction of the channel ends separately. The protocol needs an ordered and reliable channel.
    pub(crate) fn has_half_close(&self) -> bool {
        let is_reliable = self.max_retransmits.is_none() && self.max_packet_life_time.is_none();
        let has_protocol = self.protocol.as_ref().is_none_or(|protocol| protocol == ByteStream::PROTOCOL);
        self.bytes && has_protocol && is_reliable && !self.unordered
    }

    pub(crate) fn options(&self) -> ChannelOptions {
        let mut options = ChannelOptions::new(&self.label);
        options = match &self.protocol {
            Some(protocol) => options.protocol(protocol),
            None if self.has_half_close() => options.byte_stream(),
            None => options,
        };
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

fn size(argument: &str) -> Result<u64, String> {
    parse_size(argument)
        .ok_or_else(|| "write a number of bytes, or with K, M, G or T behind, like 500M or 2G".to_owned())
}

fn token(argument: &str) -> Result<String, String> {
    let len = argument.chars().count();
    if !(8..=256).contains(&len) || argument.chars().any(char::is_control) {
        return Err("a token has 8 to 256 characters, and no control characters".to_owned());
    }
    Ok(argument.to_owned())
}

fn address(argument: &str) -> Result<SocketAddr, String> {
    argument
        .parse()
        .map_err(|_| "write an IP address and a port, like 203.0.113.7:4433 or [2001:db8::7]:4433".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_token_is_none() {
        assert!(token("ahoy 4711").is_ok() && token(&"ü".repeat(256)).is_ok());
        for text in ["", "1234567", "ahoy\n4711", &"ü".repeat(257)] {
            assert!(token(text).is_err(), "{text:?}");
        }
    }
}
