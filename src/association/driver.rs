//! The task that sends for an association, and keeps its time.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

use super::carrier::Carrier;
use super::shared::Shared;
use crate::socket::{SEND_SIZE_MAX, Socket};

/// Batches sent before other tasks get their turn: about a megabyte, a few milliseconds.
const BATCHES_PER_TURN_MAX: u32 = 16;

/// Runs an association until it has ended and its last datagram has left.
///
/// One turn is: timers that are due, events to whoever waits for them, datagrams out, until nothing is left or the turn
/// has lasted long enough; then it waits for work or the deadline. The receiver and the handles do the rest themselves,
/// each under the same lock, which this never holds while it sends.
pub(crate) async fn drive(shared: &Shared, socket: &Socket, mtu: usize) {
    let max_datagrams = (SEND_SIZE_MAX / mtu).max(1);
    let sleep = pin!(tokio::time::sleep(Duration::ZERO));
    let mut alarm = Alarm { sleep, rings_at: None };
    loop {
        match send_all(shared, socket, max_datagrams).await {
            Next::Wait(deadline) => wait(shared, &mut alarm, deadline).await,
            Next::Yield => tokio::task::yield_now().await,
            Next::End => return,
        }
    }
}

/// What follows a turn.
enum Next {
    Wait(Option<Instant>),
    Yield,
    End,
}

/// One turn.
async fn send_all(shared: &Shared, socket: &Socket, max_datagrams: usize) -> Next {
    let mut carrier = Carrier::new(shared, socket);
    let mut buffer = socket.take_buffer();
    let mut batches = 0;
    let next = loop {
        let deadline_below = carrier.turn().await;
        buffer.clear();
        let turn = shared.turn(max_datagrams, &mut buffer);
        if let Some(transmit) = turn.transmit {
            if let Err(error) = carrier.send(&buffer, transmit.segment_size).await {
                shared.on_unreachable(&error);
            }
            batches += 1;
            if batches == BATCHES_PER_TURN_MAX {
                break Next::Yield;
            }
        } else if turn.is_closed {
            carrier.close().await;
            break Next::End;
        } else if !turn.has_more {
            break Next::Wait([turn.deadline, deadline_below].into_iter().flatten().min());
        }
    };
    socket.put_buffer(buffer);
    carrier.put_buffer();
    next
}

/// Waits until someone says that there is work, or the deadline.
async fn wait(shared: &Shared, alarm: &mut Alarm<'_>, deadline: Option<Instant>) {
    let mut work = pin!(shared.work.notified());
    alarm.set(deadline);
    poll_fn(|cx| if work.as_mut().poll(cx).is_ready() { Poll::Ready(()) } else { alarm.poll(cx) }).await;
}

/// A timer that is rarely set. Deadlines mostly move away from it, with each acknowledgement; it then rings early,
/// nothing is found to be due, and it is set once for all the deadlines between.
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

    /// Ready once, when it rings.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.rings_at.is_none() {
            return Poll::Pending;
        }
        ready!(self.sleep.as_mut().poll(cx));
        self.rings_at = None;
        Poll::Ready(())
    }
}
