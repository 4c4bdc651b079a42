//! One UDP socket: batches, segmentation offload both ways where the system has it, and every failure counted.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use tokio::io::Interest;
use tracing::Level;

use crate::counters::{count_drop, counters};
use crate::log::EventLimit;
use crate::net::{Answers, Datagram, Route};

/// The largest datagram, and the most that the system joins into one by receive offload.
const DATAGRAM_SIZE_MAX: usize = 65_535;
/// Largest payload of a UDP datagram after IPv4 and UDP headers, and the most that one call may send, in any number of
/// segments.
pub(crate) const SEND_SIZE_MAX: usize = 65_507;
/// Send buffers kept for the next turn: about one for each core that may run a driver.
const SPARE_BUFFERS_MAX: usize = 16;

/// True where a call that brings less than a batch has found the socket empty (recvmmsg). Elsewhere a call may bring
/// one datagram of many.
const SHORT_IS_EMPTY: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Factor by which the system reports a buffer larger than it was set, for its own overhead (socket(7)).
const BUFFER_SIZE_REPORTED: usize = if cfg!(any(target_os = "linux", target_os = "android")) { 2 } else { 1 };

/// Counts of a received batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Arrived {
    pub(crate) datagrams: usize,
    /// Bytes of those datagrams.
    pub(crate) bytes: usize,
    /// Datagrams among them that were dropped because they are not wanted.
    pub(crate) unwanted: usize,
}

counters! {
    /// Counters of a socket, since it was opened.
    pub struct SocketStats;
    struct Counters;
    /// Datagrams that arrived.
    datagrams_received,
    /// Bytes of those datagrams.
    bytes_received,
    /// Calls that took them from the system; far fewer than datagrams where batches and receive offload work.
    receive_calls,
    /// Receiving failed, for a datagram sent earlier that nobody took (ECONNREFUSED) or otherwise.
    receive_errors,
    /// Datagrams handed to the system.
    datagrams_sent,
    /// Bytes of those datagrams.
    bytes_sent,
    /// Calls that handed them over.
    send_calls,
    /// Datagrams dropped because they are larger than the path or its first hop takes (EMSGSIZE).
    send_errors_too_large,
    /// Datagrams dropped because the system says that nobody takes them (ECONNREFUSED).
    send_errors_refused,
    /// Datagrams dropped because the system ran out of buffers (ENOBUFS).
    send_errors_no_buffers,
    /// Datagrams dropped because there is no way to the peer, or none that is allowed.
    send_errors_unreachable,
    /// Datagrams dropped for another reason.
    send_errors_other,
    /// Stateless answers dropped because the system's buffer was full; the peer will ask again.
    answers_dropped,
}

/// A UDP socket.
#[derive(Debug)]
pub(crate) struct Socket {
    io: tokio::net::UdpSocket,
    state: UdpSocketState,
    local_address: SocketAddr,
    counters: Counters,
    spare_buffers: Mutex<Vec<Vec<u8>>>,
}

impl Socket {
    /// Binds `address` and asks for buffers of these sizes. Needs a tokio runtime.
    pub(crate) fn bind(address: SocketAddr, receive_buffer: usize, send_buffer: usize) -> io::Result<Self> {
        let socket = std::net::UdpSocket::bind(address)?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let local_address = socket.local_addr()?;
        // The system caps both silently; a refusal costs speed, not function.
        if let Err(error) = state.set_recv_buffer_size(UdpSockRef::from(&socket), receive_buffer) {
            tracing::warn!(%local_address, %error, "cannot set the socket's receive buffer");
        }
        if let Err(error) = state.set_send_buffer_size(UdpSockRef::from(&socket), send_buffer) {
            tracing::warn!(%local_address, %error, "cannot set the socket's send buffer");
        }
        report_small_buffers(&state, &socket, local_address, [receive_buffer, send_buffer]);
        let io = tokio::net::UdpSocket::from_std(socket)?;
        Ok(Self { io, state, local_address, counters: Counters::default(), spare_buffers: Mutex::default() })
    }

    pub(crate) fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    pub(crate) fn stats(&self) -> SocketStats {
        self.counters.stats()
    }

    /// Returns an empty buffer to write datagrams into. Buffers belong to the drivers that run, not to associations, so
    /// that an idle association holds none.
    pub(crate) fn take_buffer(&self) -> Vec<u8> {
        self.spare_buffers.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    pub(crate) fn put_buffer(&self, mut buffer: Vec<u8>) {
        let mut spare = self.spare_buffers.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE_BUFFERS_MAX {
            buffer.clear();
            spare.push(buffer);
        }
    }

    /// Sends datagrams of `segment_size` bytes, the last one perhaps shorter, in as few calls as the system allows.
    /// Waits while the system's buffer is full. A datagram that the system refuses is counted and gone, like a datagram
    /// lost on its way; the call fails with the reason if the last of them was refused, or any as too large.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, the rest is not sent.
    pub(crate) async fn send(&self, route: Route, contents: &[u8], segment_size: usize) -> io::Result<()> {
        let mut rest = contents;
        let mut refused = None;
        while !rest.is_empty() {
            let segments = self.state.max_gso_segments().max(1);
            // The system would refuse a call with more bytes as too large, whatever the segments.
            let segments = segments.min(SEND_SIZE_MAX / segment_size.max(1)).max(1);
            let len = rest.len().min(segments.saturating_mul(segment_size));
            let (batch, later) = rest.split_at(len);
            match self.try_send(route, batch, segment_size) {
                Ok(()) => {
                    rest = later;
                    refused = refused.filter(quinn_udp::is_msg_size_err);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.io.writable().await?,
                // The system has just refused to cut segments, and is not asked again: the same bytes, one by one.
                Err(_) if segments > 1 && self.state.max_gso_segments() < segments => {}
                Err(error) => {
                    rest = later;
                    self.count_send_error(&error, batch.len().div_ceil(segment_size));
                    refused = refused.filter(quinn_udp::is_msg_size_err).or(Some(error));
                }
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// Sends one stateless answer, or drops it: the peer will ask again.
    pub(crate) fn send_answer(&self, route: Route, answer: &[u8]) {
        if let Err(error) = self.try_send(route, answer, answer.len()) {
            if error.kind() == io::ErrorKind::WouldBlock {
                count_drop!(self.counters, answers_dropped, remote_address = %route.remote);
            } else {
                self.count_send_error(&error, 1);
            }
        }
    }

    /// Sends all answers, or drops those that the system has no room for.
    pub(crate) fn send_answers(&self, answers: &mut Answers) {
        answers.drain(|route, answer| self.send_answer(route, answer));
    }

    /// Sends datagrams without waiting and without the runtime, which may be shut down. Drops what the system has no
    /// room for.
    pub(crate) fn send_now(&self, route: Route, contents: &[u8], segment_size: usize) {
        for datagram in contents.chunks(segment_size.max(1)) {
            let transmit = Transmit {
                destination: route.remote,
                ecn: None,
                contents: datagram,
                segment_size: None,
                src_ip: route.local,
            };
            match self.state.try_send(UdpSockRef::from(&self.io), &transmit) {
                Ok(()) => self.count_sent(datagram.len(), 1),
                Err(error) => {
                    self.count_send_error(&error, 1);
                }
            }
        }
    }

    /// Waits for datagrams and takes all that are there, up to a batch.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, no datagram was taken.
    pub(crate) async fn receive(&self, batch: &mut ReceiveBatch) -> io::Result<()> {
        batch.filled = 0;
        let received = loop {
            if let Err(error) = self.io.readable().await {
                break Err(error);
            }
            let attempt = self.io.try_io(Interest::READABLE, || batch.fill(&self.io, &self.state));
            match attempt {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && batch.filled == 0 => {}
                // The socket is empty now, and the runtime has noted it.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(()),
                other => break other,
            }
        };
        match &received {
            Ok(()) => self.counters.receive_calls.fetch_add(1, Ordering::Relaxed),
            Err(_) => self.counters.receive_errors.fetch_add(1, Ordering::Relaxed),
        };
        received
    }

    pub(crate) fn count_received(&self, arrived: Arrived) {
        self.counters.datagrams_received.fetch_add(arrived.datagrams as u64, Ordering::Relaxed);
        self.counters.bytes_received.fetch_add(arrived.bytes as u64, Ordering::Relaxed);
    }

    fn try_send(&self, route: Route, contents: &[u8], segment_size: usize) -> io::Result<()> {
        let segment_size_if_many = (contents.len() > segment_size).then_some(segment_size);
        let transmit = Transmit {
            destination: route.remote,
            ecn: None,
            contents,
            segment_size: segment_size_if_many,
            src_ip: route.local,
        };
        self.io.try_io(Interest::WRITABLE, || self.state.try_send(UdpSockRef::from(&self.io), &transmit))?;
        self.count_sent(contents.len(), contents.len().div_ceil(segment_size.max(1)));
        Ok(())
    }

    fn count_sent(&self, bytes: usize, datagrams: usize) {
        self.counters.send_calls.fetch_add(1, Ordering::Relaxed);
        self.counters.datagrams_sent.fetch_add(datagrams as u64, Ordering::Relaxed);
        self.counters.bytes_sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts datagrams that the system refused.
    fn count_send_error(&self, error: &io::Error, datagrams: usize) {
        let failure = SendFailure::of(error);
        tracing::debug!(reason = ?failure, %error, datagrams, "the system refused datagrams");
        let counter = match failure {
            SendFailure::TooLarge => &self.counters.send_errors_too_large,
            SendFailure::Refused => &self.counters.send_errors_refused,
            SendFailure::Unreachable => &self.counters.send_errors_unreachable,
            SendFailure::NoBuffers => &self.counters.send_errors_no_buffers,
            SendFailure::Other => &self.counters.send_errors_other,
        };
        counter.fetch_add(datagrams as u64, Ordering::Relaxed);
    }
}

/// Warns if the system has granted smaller buffers than it was asked for: bursts of datagrams are lost then.
fn report_small_buffers(
    state: &UdpSocketState,
    socket: &std::net::UdpSocket,
    local_address: SocketAddr,
    [receive, send]: [usize; 2],
) {
    static WARNINGS: EventLimit = EventLimit::new();
    if !tracing::enabled!(Level::WARN) {
        return;
    }
    let granted = |size: io::Result<usize>| size.unwrap_or(usize::MAX) / BUFFER_SIZE_REPORTED;
    let granted_receive = granted(state.recv_buffer_size(UdpSockRef::from(socket)));
    let granted_send = granted(state.send_buffer_size(UdpSockRef::from(socket)));
    if (granted_receive < receive || granted_send < send)
        && let Some(suppressed) = WARNINGS.permit(Instant::now())
    {
        tracing::warn!(
            %local_address,
            receive,
            granted_receive,
            send,
            granted_send,
            suppressed,
            "the system grants smaller socket buffers than it was asked for: raise net.core.rmem_max and \
             net.core.wmem_max, or lower socket_receive_buffer and socket_send_buffer"
        );
    }
}

/// Reason for which the system refused a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SendFailure {
    /// The datagram is larger than the first hop takes (EMSGSIZE). A repetition is refused too.
    TooLarge,
    /// Nobody listens at the port (ECONNREFUSED).
    Refused,
    /// There is no way to the peer, or none that is allowed (ENETUNREACH, EHOSTUNREACH, ENETDOWN, EADDRNOTAVAIL, EPERM,
    /// EACCES, EINVAL). It may come back.
    Unreachable,
    /// The system has run out of buffers (ENOBUFS, ENOMEM). It passes.
    NoBuffers,
    /// Anything else. It may pass.
    Other,
}

impl SendFailure {
    pub(crate) fn of(error: &io::Error) -> Self {
        use io::ErrorKind::{
            AddrNotAvailable, ConnectionRefused, ConnectionReset, HostUnreachable, InvalidInput, NetworkDown,
            NetworkUnreachable, PermissionDenied, Unsupported,
        };
        match error.kind() {
            _ if quinn_udp::is_msg_size_err(error) => Self::TooLarge,
            ConnectionRefused | ConnectionReset => Self::Refused,
            HostUnreachable | NetworkUnreachable | NetworkDown | AddrNotAvailable | PermissionDenied | InvalidInput
            | Unsupported => Self::Unreachable,
            _ if is_no_buffers(error) => Self::NoBuffers,
            _ => Self::Other,
        }
    }

    /// True if an attempt to connect ends with it: what is refused now is refused as long as anybody waits.
    pub(crate) fn ends_attempt(self) -> bool {
        matches!(self, Self::TooLarge | Self::Refused | Self::Unreachable)
    }
}

/// Meaning of an error that the system returned instead of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReceiveFailure {
    /// It is about a datagram that was sent before, or about one that came: the next call may have another one at once.
    /// ICMP errors come this way, as WSAECONNRESET on Windows.
    OneDatagram,
    /// It may pass, in some time.
    Transient,
    /// The socket cannot be used any more.
    Final,
}

impl ReceiveFailure {
    pub(crate) fn of(error: &io::Error) -> Self {
        use io::ErrorKind::{
            AddrNotAvailable, BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable,
            Interrupted, NetworkUnreachable, NotConnected, PermissionDenied, TimedOut, WouldBlock,
        };
        match error.kind() {
            ConnectionRefused | ConnectionReset | HostUnreachable | NetworkUnreachable | AddrNotAvailable
            | PermissionDenied | TimedOut | Interrupted | WouldBlock => Self::OneDatagram,
            _ if quinn_udp::is_msg_size_err(error) => Self::OneDatagram,
            NotConnected | BrokenPipe | ConnectionAborted => Self::Final,
            _ if error.raw_os_error().is_some_and(|code| NO_SOCKET.contains(&code)) => Self::Final,
            _ => Self::Transient,
        }
    }
}

/// EBADF and ENOTSOCK, which have no [`io::ErrorKind`].
#[cfg(unix)]
const NO_SOCKET: [i32; 2] = [9, if cfg!(any(target_os = "linux", target_os = "android")) { 88 } else { 38 }];

/// WSAEBADF and WSAENOTSOCK.
#[cfg(not(unix))]
const NO_SOCKET: [i32; 2] = [10_009, 10_038];

/// Room for one batch of arriving datagrams: as many calls' worth as the system hands over at once, each large enough
/// for what receive offload joins. 2 MiB of address space for each endpoint, of which only what gets filled is memory.
pub(crate) struct ReceiveBatch {
    buffer: Box<[u8]>,
    metas: [RecvMeta; BATCH_SIZE],
    filled: usize,
}

impl ReceiveBatch {
    pub(crate) fn new() -> Self {
        Self {
            buffer: vec![0; DATAGRAM_SIZE_MAX * BATCH_SIZE].into_boxed_slice(),
            metas: [RecvMeta::default(); BATCH_SIZE],
            filled: 0,
        }
    }

    /// Copies the batch into datagrams of their own, but for those that are not wanted: a flood of them costs no
    /// memory. `is_wildcard` says that the local address has to be remembered. Returns what has arrived, wanted or not.
    pub(crate) fn take(
        &self,
        is_wildcard: bool,
        is_wanted: impl Fn(&[u8]) -> bool,
        datagrams: &mut Vec<Datagram>,
    ) -> Arrived {
        let mut arrived = Arrived::default();
        let buffers = self.buffer.chunks_exact(DATAGRAM_SIZE_MAX);
        for (meta, buffer) in self.metas.iter().zip(buffers).take(self.filled) {
            let route = Route { remote: meta.addr, local: meta.dst_ip.filter(|_| is_wildcard) };
            let joined = buffer.get(..meta.len).unwrap_or_default();
            arrived.bytes += joined.len();
            let mut add = |bytes| {
                arrived.datagrams += 1;
                if is_wanted(bytes) {
                    datagrams.push(Datagram { route, bytes: Bytes::copy_from_slice(bytes) });
                } else {
                    arrived.unwanted += 1;
                }
            };
            match joined {
                // `chunks` has nothing to give of it, but it came, and counts.
                [] => add(joined),
                _ => joined.chunks(meta.stride.max(1)).for_each(add),
            }
        }
        arrived
    }

    /// Takes what is there. Says [`WouldBlock`](io::ErrorKind::WouldBlock) if nothing was, and also if the socket is
    /// known to be empty afterwards, so that no call is needed to find that out. What arrives meanwhile makes it
    /// readable again.
    fn fill(&mut self, io: &tokio::net::UdpSocket, state: &UdpSocketState) -> io::Result<()> {
        let mut chunks = self.buffer.chunks_exact_mut(DATAGRAM_SIZE_MAX);
        let mut buffers: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        self.filled = state.recv(UdpSockRef::from(io), &mut buffers, &mut self.metas)?;
        if SHORT_IS_EMPTY && self.filled < BATCH_SIZE { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    }
}

#[cfg(unix)]
fn is_no_buffers(error: &io::Error) -> bool {
    /// ENOBUFS, which has no [`io::ErrorKind`], where it has this number.
    const ENOBUFS: i32 = if cfg!(any(target_os = "linux", target_os = "android")) { 105 } else { 55 };
    error.raw_os_error() == Some(ENOBUFS) || error.kind() == io::ErrorKind::OutOfMemory
}

#[cfg(not(unix))]
fn is_no_buffers(error: &io::Error) -> bool {
    /// WSAENOBUFS.
    const WSAENOBUFS: i32 = 10_055;
    error.raw_os_error() == Some(WSAENOBUFS)
}

#[cfg(test)]
mod tests;
