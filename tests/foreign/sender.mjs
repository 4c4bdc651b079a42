// Offers one channel and sends on it: `node sender.mjs libdatachannel|libwebrtc BYTES`. The offer goes to standard output,
// the answer comes from standard input, each a line of JSON.
import { createInterface } from "node:readline";

const [stack, size] = process.argv.slice(2);
const bytes = Number(size);
const MESSAGE = 16 << 10;
const BUFFER_MAX = 1 << 20;
const message = Buffer.alloc(MESSAGE, 7);
const answer = new Promise((resolve) => {
  createInterface({ input: process.stdin }).once("line", (line) => resolve(JSON.parse(line)));
});
const offered = (sdp) => console.log(JSON.stringify(sdp));

// Sends all, and leaves room whenever the buffer is full.
async function pump(send, buffered) {
  for (let sent = 0; sent < bytes; sent += MESSAGE) {
    while (buffered() > BUFFER_MAX) await new Promise((resolve) => setTimeout(resolve, 1));
    send(bytes - sent < MESSAGE ? message.subarray(0, bytes - sent) : message);
  }
}

async function libdatachannel() {
  const { default: stack } = await import("node-datachannel");
  const peer = new stack.PeerConnection("sender", { iceServers: [] });
  peer.onGatheringStateChange((state) => {
    if (state === "complete") offered(peer.localDescription().sdp);
  });
  const channel = peer.createDataChannel("upload");
  channel.onOpen(() => pump((part) => channel.sendMessageBinary(part), () => channel.bufferedAmount()));
  channel.onMessage(() => process.exit(0));
  peer.setRemoteDescription(await answer, "answer");
}

async function libwebrtc() {
  const { default: stack } = await import("@roamhq/wrtc");
  const peer = new stack.RTCPeerConnection();
  const channel = peer.createDataChannel("upload");
  channel.onopen = () => pump((part) => channel.send(part), () => channel.bufferedAmount);
  channel.onmessage = () => process.exit(0);
  await peer.setLocalDescription(await peer.createOffer());
  while (peer.iceGatheringState !== "complete") await new Promise((resolve) => setTimeout(resolve, 5));
  offered(peer.localDescription.sdp);
  await peer.setRemoteDescription({ type: "answer", sdp: await answer });
}

await { libdatachannel, libwebrtc }[stack]();
