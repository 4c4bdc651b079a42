// Offers one channel, and sends on it in messages of 16 KiB as soon as it is open.
'use strict';

const MESSAGE = 16 << 10;
const BUFFER_MAX = 1 << 20;
let peer;

async function offer(bytes) {
  peer = new RTCPeerConnection();
  const channel = peer.createDataChannel('upload');
  channel.bufferedAmountLowThreshold = BUFFER_MAX / 2;
  channel.onopen = () => pump(channel, bytes);
  await peer.setLocalDescription(await peer.createOffer());
  return peer.localDescription.sdp;
}

const take = (answer) => peer.setRemoteDescription({ type: 'answer', sdp: answer });

async function pump(channel, bytes) {
  const message = new Uint8Array(MESSAGE).fill(7);
  for (let sent = 0; sent < bytes && channel.readyState === 'open'; sent += MESSAGE) {
    if (channel.bufferedAmount > BUFFER_MAX) {
      await new Promise((resolve) => channel.addEventListener('bufferedamountlow', resolve, { once: true }));
    }
    channel.send(bytes - sent < MESSAGE ? message.subarray(0, bytes - sent) : message);
  }
}
