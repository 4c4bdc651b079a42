// Connects a browser to a narrowboat service without signalling. The browser's own offer stays as it is; the answer is made
// here, from what the ticket says: the service's addresses, and the hash of its certificate, which the browser verifies. The
// service learns the rest from the browser's first check: its user name carries the browser's own ICE password.
// The channels, at least one, are created before.
async function connectDirect(peer, { candidates, fingerprint, maxMessageSize = 262144 }) {
  await peer.setLocalDescription(await peer.createOffer());
  const offered = (name) => new RegExp(`^a=${name}:(\\S+)`, "m").exec(peer.localDescription.sdp)[1];
  const secret = `narrowboat+1/${offered("ice-pwd")}`;
  const answer = [
    "v=0",
    "o=- 0 0 IN IP4 0.0.0.0",
    "s=-",
    "t=0 0",
    "a=ice-lite",
    `a=group:BUNDLE ${offered("mid")}`,
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
    "c=IN IP4 0.0.0.0",
    `a=mid:${offered("mid")}`,
    `a=ice-ufrag:${secret}`,
    `a=ice-pwd:${secret}`,
    `a=fingerprint:${fingerprint}`,
    "a=setup:passive",
    "a=sctp-port:5000",
    `a=max-message-size:${maxMessageSize}`,
    ...candidates.map(({ ip, port }, n) => `a=candidate:${n + 1} 1 udp ${2130706431 - n} ${ip} ${port} typ host`),
    "a=end-of-candidates",
  ];
  await peer.setRemoteDescription({ type: "answer", sdp: answer.map((line) => `${line}\r\n`).join("") });
}
