// libwebrtc as the receiver: `node receiver.mjs BYTES`. Reads an offer, prints its answer, then the milliseconds that so
// many bytes took from the opening of the channel on.
import { createInterface } from "node:readline";
import wrtc from "@roamhq/wrtc";

const bytes = Number(process.argv[2]);
const offer = await new Promise((resolve) => {
  createInterface({ input: process.stdin }).once("line", (line) => resolve(JSON.parse(line)));
});
const peer = new wrtc.RTCPeerConnection();
peer.ondatachannel = ({ channel }) => {
  const begun = performance.now();
  let received = 0;
  channel.binaryType = "arraybuffer";
  channel.onmessage = ({ data }) => {
    received += data.byteLength;
    if (received >= bytes) {
      console.log(performance.now() - begun);
      channel.send("done");
    }
  };
};
await peer.setRemoteDescription({ type: "offer", sdp: offer });
await peer.setLocalDescription(await peer.createAnswer());
while (peer.iceGatheringState !== "complete") await new Promise((resolve) => setTimeout(resolve, 5));
console.log(JSON.stringify(peer.localDescription.sdp));
