// The page of the browser tests: makes a connection, and logs all that happens to it, in order.
'use strict';

let pc;
/** Channels by label. */
const channels = {};
/** Events: the owner (a label, or 'pc'), the name of the event, and the state then. */
const log = [];
/** Messages by label: how many, how many bytes, and the last few themselves. */
const received = {};
/** Those who wait for something to happen; each returns true when it has. */
let waiting = [];
/** Values that a case keeps from one step to the next. */
let running, sending, order;

const KEPT = 64;

function note(who, what, state) {
  log.push({ at: Math.round(performance.now() * 10) / 10, who, what, state });
  wake();
}

function wake() {
  waiting = waiting.filter((check) => !check());
}

/** Waits until `condition` holds, which is asked again whenever something has been noted or received. */
function until(condition, milliseconds = 60_000) {
  if (condition()) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const check = () => condition() && (clearTimeout(timer), resolve(), true);
    const timer = setTimeout(() => {
      waiting = waiting.filter((other) => other !== check);
      const states = Object.values(channels).slice(0, 4).map((c) => `${c.label.slice(0, 20)}: ${c.readyState}`);
      reject(new Error(`never: ${condition}; ${pc?.connectionState}; ${states}; ${JSON.stringify(log.slice(-20))}`));
    }, milliseconds);
    waiting.push(check);
  });
}

const happened = (who, what) => log.some((entry) => entry.who === who && entry.what === what);
const untilEvent = (who, what, milliseconds) => until(() => happened(who, what), milliseconds);

/** The events of a channel or of the connection, with the state in which each found it. */
const events = (who) => log.filter((entry) => entry.who === who).map(({ what, state }) => `${what} (${state})`);

function newPeer(configuration) {
  pc = new RTCPeerConnection(configuration);
  pc.addEventListener('connectionstatechange', () => note('pc', pc.connectionState, pc.sctp?.state));
  pc.addEventListener('datachannel', ({ channel }) => watch(channel));
}

function create(label, init) {
  return watch(pc.createDataChannel(label, init));
}

function watch(channel) {
  const label = channel.label;
  channels[label] = channel;
  channel.binaryType = 'arraybuffer';
  // A channel that comes from the peer may be open before anyone can listen.
  if (channel.readyState !== 'connecting') note(label, 'given', channel.readyState);
  for (const event of ['open', 'bufferedamountlow', 'closing', 'close']) {
    channel.addEventListener(event, () => note(label, event, channel.readyState));
  }
  channel.addEventListener('error', ({ error }) => {
    const cause = [error?.name, error?.errorDetail, error?.sctpCauseCode].filter((part) => part != null).join(' ');
    note(label, `error ${cause}`, channel.readyState);
  });
  channel.addEventListener('message', ({ data }) => {
    const of = (received[label] ??= { count: 0, bytes: 0, last: [] });
    of.count += 1;
    of.bytes += data.byteLength ?? new TextEncoder().encode(data).length;
    of.last.push(data);
    if (of.last.length > KEPT) of.last.shift();
    channel.onreceive?.(data);
    wake();
  });
  return channel;
}

const untilBytes = (label, bytes) => until(() => (received[label]?.bytes ?? 0) >= bytes);
const untilCount = (label, count) => until(() => (received[label]?.count ?? 0) >= count);

/** Closes a channel; what its state is right after is noted, since no event says so. */
function close(label) {
  channels[label].close();
  note(label, 'close()', channels[label].readyState);
}

/** Offers at once: candidates that come later are not needed by a peer that is ICE-lite. */
async function makeOffer() {
  await pc.setLocalDescription(await pc.createOffer());
  return pc.localDescription.sdp;
}

async function makeAnswer(offer) {
  await pc.setRemoteDescription({ type: 'offer', sdp: offer });
  await pc.setLocalDescription(await pc.createAnswer());
  return pc.localDescription.sdp;
}

const takeAnswer = (answer) => pc.setRemoteDescription({ type: 'answer', sdp: answer });

/** For a peer that is a full ICE agent: the description with all candidates in it. */
async function gathered() {
  while (pc.iceGatheringState !== 'complete') {
    await new Promise((resolve) => pc.addEventListener('icegatheringstatechange', resolve, { once: true }));
  }
  return pc.localDescription.sdp;
}

/** As if there had never been a channel of this label. */
function forget(label) {
  delete channels[label];
  for (let n = log.length - 1; n >= 0; n--) if (log[n].who === label) log.splice(n, 1);
}

/** Returns the properties of a channel, as the browser reports them. */
function describe(label) {
  const { id, ordered, maxRetransmits, maxPacketLifeTime, protocol, negotiated, readyState } = channels[label];
  return { id, label, protocol, ordered, maxRetransmits, maxPacketLifeTime, negotiated, readyState };
}

/** Bytes that anyone can tell apart from others of another length; `pattern` in link.rs makes the same. */
function pattern(length) {
  const bytes = new Uint8Array(length);
  for (let n = 0, value = length & 0xff; n < length; n++, value = (value * 5 + 3) & 0xff) bytes[n] = value;
  return bytes;
}

/** Sends 64 KiB blocks that begin with their number, big-endian, as fast as the channel takes them. */
async function sendNumbered(label, blocks) {
  const channel = channels[label];
  channel.bufferedAmountLowThreshold = 1 << 19;
  const block = new Uint8Array(65_536);
  for (let n = 0; n < blocks; n++) {
    if (channel.bufferedAmount > 1 << 20) {
      await new Promise((resolve) => channel.addEventListener('bufferedamountlow', resolve, { once: true }));
    }
    new DataView(block.buffer).setUint32(0, n);
    channel.send(block);
  }
}

/** Waits for that many blocks of `sendNumbered`'s kind, in order. */
function receiveNumbered(label, blocks) {
  return new Promise((resolve, reject) => {
    let expected = 0;
    channels[label].onreceive = (data) => {
      const number = new DataView(data).getUint32(0);
      if (number !== expected || data.byteLength !== 65_536) reject(new Error(`block ${number}, not ${expected}`));
      expected += 1;
      if (expected === blocks) resolve();
    };
    channels[label].addEventListener('close', () => reject(new Error(`closed after ${expected} blocks`)));
  });
}
