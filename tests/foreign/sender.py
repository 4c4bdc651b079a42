"""Offers one channel and sends on it with aiortc: `python sender.py BYTES`. The offer goes to standard output, the answer
comes from standard input, each a line of JSON."""

import asyncio
import json
import sys

from aiortc import RTCPeerConnection, RTCSessionDescription

MESSAGE = 16 << 10
BUFFER_MAX = 1 << 20


async def main() -> None:
    size = int(sys.argv[1])
    peer = RTCPeerConnection()
    channel = peer.createDataChannel("upload")
    done = asyncio.Event()

    async def pump() -> None:
        sent = 0
        while sent < size:
            while channel.bufferedAmount > BUFFER_MAX:
                await asyncio.sleep(0.001)
            part = min(MESSAGE, size - sent)
            channel.send(bytes(part))
            sent += part

    channel.on("open", lambda: asyncio.ensure_future(pump()))
    channel.on("message", lambda _: done.set())
    await peer.setLocalDescription(await peer.createOffer())
    print(json.dumps(peer.localDescription.sdp), flush=True)
    answer = json.loads(await asyncio.to_thread(sys.stdin.readline))
    await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    await done.wait()
    await peer.close()


asyncio.run(main())
