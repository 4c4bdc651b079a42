//! The driver: the task that sends for an association, and handles its time-outs.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

use super::packet_sender::PacketSender;
use super::shared::Shared;
use crate::socket::{SendFailure, Socket};

/// Batches that a driver sends before it yields to other tasks: about a megabyte, a few milliseconds.
const BATCHES_PER_STEP_MAX: u32 = 16;

/// Runs an association until it has ended and its last datagram has left.
///
/// A round handles the time-outs that are due, wakes the tasks that wait for events, and sends datagrams, until nothing
/// is left or [`BATCHES_PER_STEP_MAX`] batches were sent; then the driver waits for work or the deadline. The receive
/// loop and the handles do the rest, under the same lock, which the driver never holds while it sends.
pub(crate) async fn drive(shared: &Shared, socket: &Socket) {
    let sleep = pin!(tokio::time::sleep(Duration::ZERO));
    let mut alarm = Alarm { sleep, rings_at: None };
    let mut progress = DriverProgress::default();
    loop {
        match send_all(shared, socket, &mut progress).await {
            AfterStep::Wait(deadline) => wait(shared, &mut alarm, deadline).await,
            AfterStep::Yield => tokio::task::yield_now().await,
            AfterStep::End => return,
        }
    }
}

/// Runs an association as [`drive`] does. A panic ends this association only, as one in the receive loop does.
pub(crate) async fn drive_contained(shared: &Shared, socket: &Socket) {
    let is_whole = {
        let mut driver = pin!(drive(shared, socket));
        poll_fn(|cx| match shared.contain(|| driver.as_mut().poll(cx)) {
            Some(poll) => poll.map(|()| true),
            None => Poll::Ready(false),
        })
        .await
    };
    if !is_whole {
        shared.contain(|| send_now(shared, socket));
    }
}

/// Ends an association whose runtime is shut down: sends what the congestion window allows, then an ABORT, so that the
/// peer does not wait for a time-out. Does not wait.
pub(crate) fn leave(shared: &Shared, socket: &Socket) {
    if shared.read(|inner| inner.life.is_connected()) {
        shared.warn_of_early_end();
        send_now(shared, socket);
    }
    shared.command(|inner, _| {
        if !inner.life.is_closed() {
            inner.abort("the program ended without shutting the association down");
        }
    });
    send_now(shared, socket);
    PacketSender::new(shared, socket).close_now();
}

/// Sends everything that may be sent, without waiting.
fn send_now(shared: &Shared, socket: &Socket) {
    let mut packet_sender = PacketSender::new(shared, socket);
    let mut buffer = Vec::new();
    for _ in 0..BATCHES_PER_STEP_MAX {
        buffer.clear();
        let Some(transmit) = shared.step(&mut buffer).transmit else { return };
        packet_sender.send_now(&buffer, transmit.segment_size);
    }
}

/// State that a driver keeps from one round to the next.
#[derive(Debug, Default)]
struct DriverProgress {
    /// True if the system refused the last batch.
    has_failed: bool,
    /// True if the log has been told that the association is established.
    is_established: bool,
}

impl DriverProgress {
    /// Handles the result of sending packets of `packet_len` bytes. That packets are too large is a hint to send
    /// smaller ones, and an error only if there are none.
    fn on_sent(&mut self, shared: &Shared, sent: io::Result<()>, packet_len: usize) {
        match sent {
            Ok(()) if self.has_failed => {
                self.has_failed = false;
                shared.on_sent_again();
            }
            Ok(()) => {}
            Err(error)
                if SendFailure::of(&error) == SendFailure::TooLarge && shared.on_packet_too_large(packet_len) => {}
            Err(error) => {
                self.has_failed = true;
                shared.on_send_failure(&error);
            }
        }
    }
}

/// Continuation after a round of the driver.
enum AfterStep {
    Wait(Option<Instant>),
    Yield,
    End,
}

/// Runs one round of the driver.
async fn send_all(shared: &Shared, socket: &Socket, progress: &mut DriverProgress) -> AfterStep {
    let mut packet_sender = PacketSender::new(shared, socket);
    let mut buffer = socket.take_buffer();
    let mut batches = 0;
    let next = loop {
        let deadline_below = packet_sender.step().await;
        buffer.clear();
        let step = shared.step(&mut buffer);
        if step.was_connected && !progress.is_established {
            progress.is_established = true;
            shared.report_established();
        }
        if let Some(transmit) = step.transmit {
            let sent = packet_sender.send(&buffer, transmit.segment_size).await;
            progress.on_sent(shared, sent, transmit.segment_size);
            batches += 1;
            if batches == BATCHES_PER_STEP_MAX {
                break AfterStep::Yield;
            }
        } else if step.is_closed {
            packet_sender.close().await;
            break AfterStep::End;
        } else if !step.has_more {
            break AfterStep::Wait([step.deadline, deadline_below].into_iter().flatten().min());
        }
    };
    socket.put_buffer(buffer);
    packet_sender.put_buffer();
    next
}

/// Waits until there is work, or for the deadline.
async fn wait(shared: &Shared, alarm: &mut Alarm<'_>, deadline: Option<Instant>) {
    let mut work = pin!(shared.work.notified());
    alarm.set(deadline);
    poll_fn(|cx| if work.as_mut().poll(cx).is_ready() { Poll::Ready(()) } else { alarm.poll(cx) }).await;
}

/// A timer that is seldom set. Each acknowledgement moves the deadline to a later time; the timer then rings early,
/// finds nothing due, and is set once for all the deadlines between.
struct Alarm<'a> {
    sleep: Pin<&'a mut Sleep>,
    rings_at: Option<Instant>,
}

impl Alarm<'_> {
    fn set(&mut self, deadline: Option<Instant>) {
        if let Some(deadline) = deadline
            && self.rings_at.is_none_or(|rings_at| deadline < rings_at)
        {
            self.sleep.as_mut().reset(deadline.into());
            self.rings_at = Some(deadline);
        }
    }

    /// Returns `Ready` once, when the timer rings.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.rings_at.is_none() {
            return Poll::Pending;
        }
        ready!(self.sleep.as_mut().poll(cx));
        self.rings_at = None;
        Poll::Ready(())
    }
}
