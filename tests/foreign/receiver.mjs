// libwebrtc as the receiver: `node receiver.mjs BYTES SECONDS`. Reads an offer, prints its answer; then, when so many bytes
// have come or so many seconds have passed since the channel came, how many bytes came and in how many milliseconds.
import { createInterface } from "node:readline";
import wrtc from "@roamhq/wrtc";

const [bytes, seconds] = process.argv.slice(2).map(Number);
const offer = await new Promise((resolve) => {
  createInterface({ input: process.stdin }).once("line", (line) => resolve(JSON.parse(line)));
});
const peer = new wrtc.RTCPeerConnection();
peer.ondatachannel = ({ channel }) => {
  const begun = performance.now();
  let received = 0;
  const end = () => {
    clearTimeout(timer);
    channel.onmessage = null;
    console.log(`${received} ${performance.now() - begun}`);
    channel.send("done");
  };
  const timer = setTimeout(end, seconds * 1000);
  channel.binaryType = "arraybuffer";
  channel.onmessage = ({ data }) => {
    received += data.byteLength;
    if (received >= bytes) end();
  };
};
await peer.setRemoteDescription({ type: "offer", sdp: offer });
await peer.setLocalDescription(await peer.createAnswer());
while (peer.iceGatheringState !== "complete") await new Promise((resolve) => setTimeout(resolve, 5));
console.log(JSON.stringify(peer.localDescription.sdp));
