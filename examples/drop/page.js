// The page of `cargo run --example drop`. Channels, all opened here:
//   "control"        texts: {ping, loss} to the service; {pong, now}, {life} from it
//   "ticks-reliable" and "ticks-newest": a float64 from the service 60 times a second, its clock in milliseconds
//   "file"           a text {name, size, token}, then the bytes; the service answers with {received} and at last {sha256, saved}
const $ = (id) => document.getElementById(id);
const CHUNK = 64 * 1024;
const QUEUE_MAX = 4 * 1024 * 1024;
// A service that has not answered this many pings, one a second, is gone. The browser itself takes up to half a minute to notice.
const UNANSWERED_MAX = 4;
// After so long without a connection the page says what may be wrong, and after so long it begins anew.
const HINT_MS = 5_000, CONNECT_MS = 20_000;

let peer = null;
let control = null;
// Resolves when the connection is over.
let over = Promise.resolve();
let unanswered = 0;
let plots = [];
// The service's clock minus ours, from the ping with the shortest way.
let clock = { offset: 0, rtt: Infinity };

start();

async function start() {
  $("choose").addEventListener("change", (event) => send([...event.target.files]));
  const target = $("target");
  // Anywhere on the page: a browser would leave it for the file else.
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      target.classList.toggle("over", name === "dragover");
      if (name === "drop") send([...event.dataTransfer.files]);
    });
  }
  $("loss").addEventListener("input", ping);
  setInterval(() => AgePlot.draw(plots, performance.now()), 50);
  for (;;) {
    try {
      await live();
    } catch (error) {
      trouble(error);
    }
    target.classList.add("off");
    await sleep(1000);
  }
}

// One connection, from its beginning to its end.
async function live() {
  const response = await fetch("ticket.json").catch(() => null);
  if (!response?.ok) throw new Error("The service does not answer. Is it still running? This page connects again as soon as it is.");
  const ticket = await response.json();
  if (!window.RTCPeerConnection) throw new Error("This browser has WebRTC switched off, by a setting or an extension: switch it on.");
  peer = new RTCPeerConnection();
  let end;
  over = new Promise((resolve) => { end = resolve; });
  clock = { offset: 0, rtt: Infinity };
  peer.onconnectionstatechange = showState;
  control = peer.createDataChannel("control");
  control.onmessage = onControl;
  control.onopen = () => { unanswered = 0; ping(); $("target").classList.remove("off"); };
  const pinging = setInterval(ping, 1000);
  plots = [plot("reliable", {}), plot("newest", { ordered: false, maxRetransmits: 0 })];
  showState();
  try {
    await connectDirect(peer, ticket);
    await ended(peer, ticket);
  } finally {
    clearInterval(pinging);
    peer.close();
    end();
    showState();
  }
}

// Rejects when the connection is over, saying what may be the matter.
function ended(peer, ticket) {
  return new Promise((_, reject) => {
    let connected = false;
    const hint = setTimeout(() => trouble(new Error(`${unreachable(ticket)} Still trying…`)), HINT_MS);
    const late = setTimeout(() => reject(new Error(unreachable(ticket))), CONNECT_MS);
    const look = () => {
      const state = peer.connectionState;
      if (state === "failed" || state === "closed") {
        reject(new Error(connected ? "The connection was lost. Connecting again…" : unreachable(ticket)));
      }
    };
    const lost = () => reject(new Error("The service ended the connection. Connecting again…"));
    control.addEventListener("open", () => { connected = true; clearTimeout(hint); clearTimeout(late); clearTrouble(); });
    control.addEventListener("close", lost);
    control.addEventListener("silence", () => reject(new Error("Nothing comes from the service any more. Connecting again…")));
    peer.addEventListener("connectionstatechange", look);
    over.then(() => { clearTimeout(hint); clearTimeout(late); });
  });
}

function unreachable({ candidates }) {
  const isFirefox = navigator.userAgent.includes("Firefox");
  if (isFirefox && candidates.every(({ ip }) => ip.startsWith("127."))) {
    return "Firefox never uses 127.0.0.1 for data channels, and the service's machine has no other address. Connect the machine "
      + "to a network and start the service again, or take another browser.";
  }
  const port = candidates[0].port, hosts = candidates.map(({ ip }) => ip).join(" or ");
  return `The page came, but data channels do not get through: UDP to port ${port} of ${hosts} is not answered. `
    + "Allow it in the firewall of the service's machine, and see that this device is on the same network.";
}

function plot(name, options) {
  const view = new AgePlot($(`plot-${name}`), $(`age-${name}`));
  const channel = peer.createDataChannel(`ticks-${name}`, options);
  channel.binaryType = "arraybuffer";
  channel.onmessage = ({ data }) => {
    const now = performance.now();
    unanswered = 0;
    view.add(now, now + clock.offset - new DataView(data).getFloat64(0));
  };
  return view;
}

function ping() {
  const percent = Number($("loss").value);
  $("loss-value").textContent = `${percent} %`;
  if (control?.readyState !== "open") return;
  control.send(JSON.stringify({ ping: performance.now(), loss: percent / 100 }));
  unanswered += 1;
  if (unanswered > UNANSWERED_MAX) control.dispatchEvent(new Event("silence"));
}

function onControl({ data }) {
  const message = JSON.parse(data);
  unanswered = 0;
  if (message.pong !== undefined) {
    const now = performance.now(), rtt = now - message.pong;
    if (rtt < clock.rtt) clock = { rtt, offset: message.now - (message.pong + rtt / 2) };
    $("rtt").textContent = `round trip ${rtt.toFixed(1)} ms`;
  }
  if (message.life !== undefined) document.getElementById(`life-${message.life}`)?.replaceWith(lifeOf(message.states));
}

async function send(files) {
  for (const file of files) await sendFile(file).catch(() => {});
  $("choose").value = "";
}

async function sendFile(file) {
  const view = fileView(file);
  if (control?.readyState !== "open") return view.fail("not sent, because there is no connection: drop it again when there is");
  const gone = over;
  const channel = peer.createDataChannel("file");
  const life = [];
  const mark = (state) => {
    if (life.at(-1)?.state === state || life.at(-1)?.state === "closed") return;
    life.push({ state, at: performance.now() });
    view.life.replaceChildren(...stations(life));
  };
  mark(channel.readyState);
  channel.addEventListener("open", () => mark("open"));
  channel.addEventListener("closing", () => mark("closing"));
  channel.addEventListener("error", () => mark("error"));
  // The end of a connection ends its channels, and not every browser tells them so.
  const closed = Promise.race([new Promise((resolve) => channel.addEventListener("close", resolve)), gone]).then(() => mark("closed"));
  let failure = null;
  const receipt = new Promise((resolve, reject) => {
    const fail = (why) => { failure ??= new Error(why); reject(failure); };
    channel.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.received !== undefined) view.progress(message.received);
      if (message.failed !== undefined) fail(message.failed);
      if (message.sha256 !== undefined) resolve(message);
    };
    gone.then(() => fail("the connection was lost: drop the file again"));
    closed.then(() => fail("the service closed the channel before it had all: drop the file again"));
  });
  receipt.catch(() => {}); // Said where it is awaited.
  try {
    await Promise.race([opened(channel), receipt]);
    view.serverLife.id = `life-${channel.id}`;
    channel.send(JSON.stringify({ name: file.name, size: file.size, token: token() }));
    const hash = new Sha256();
    for (let at = 0; at < file.size; at += CHUNK) {
      const bytes = new Uint8Array(await read(file, at));
      hash.update(bytes);
      await Promise.race([room(channel), receipt]);
      if (failure) throw failure;
      channel.send(bytes);
    }
    const sent = hash.hex();
    const { sha256, saved } = await receipt;
    view.done(sent, sha256, saved);
  } catch (error) {
    // A channel that the service closes refuses what is sent before its reason has been handed over.
    await Promise.race([receipt.catch(() => {}), sleep(2000)]);
    view.fail(`not received: ${(failure ?? error).message}`);
  }
  if (channel.readyState === "open" || channel.readyState === "connecting") {
    channel.close();
    mark(channel.readyState);
  }
  await closed;
}

// The end of the page's address, which is not sent with requests.
function token() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

function read(file, at) {
  return file.slice(at, at + CHUNK).arrayBuffer().catch(() => { throw new Error("it cannot be read, be it a folder or gone"); });
}

function opened(channel) {
  return new Promise((resolve) => channel.addEventListener("open", resolve, { once: true }));
}

// Waits until the browser has sent most of what it was given.
function room(channel) {
  if (channel.bufferedAmount < QUEUE_MAX) return undefined;
  channel.bufferedAmountLowThreshold = QUEUE_MAX / 2;
  return new Promise((resolve) => channel.addEventListener("bufferedamountlow", resolve, { once: true }));
}

function fileView(file) {
  const bar = element("progress", { max: Math.max(file.size, 1), value: 0 });
  const numbers = element("p", { className: "numbers", textContent: "waiting for the channel" });
  const hash = element("div", { className: "hash" });
  const life = element("ol", { className: "life" });
  const serverLife = element("div", {});
  const begun = performance.now();
  const card = element("div", { className: "card" },
    element("p", { className: "name", textContent: file.name }), bar, numbers, hash,
    element("div", { className: "who", textContent: "the channel's life, here" }), life, serverLife);
  $("files").prepend(card);
  return {
    life, serverLife,
    fail: (text) => {
      card.classList.add("failed");
      numbers.textContent = text;
    },
    progress: (received) => {
      const rate = received / ((performance.now() - begun) / 1000);
      bar.value = received;
      numbers.textContent = `${size(received)} of ${size(file.size)}, ${size(rate)}/s, ${duration((file.size - received) / rate)} left`;
    },
    done: (sent, received, saved) => {
      const seconds = (performance.now() - begun) / 1000;
      bar.value = bar.max;
      numbers.textContent = `${size(file.size)} in ${duration(seconds)}, ${size(file.size / seconds)}/s, saved as ${saved}`;
      const equal = sent === received;
      hash.replaceChildren(`SHA-256 sent ${sent}`, element("br", {}), `received ${received} `,
        element("b", { className: equal ? "" : "bad", textContent: equal ? "equal" : "DIFFERENT" }));
    },
  };
}

function lifeOf(states) {
  const life = states.map(([state, at]) => ({ state, at }));
  return element("div", {}, element("div", { className: "who", textContent: "and at the service" }),
    element("ol", { className: "life" }, ...stations(life)));
}

function stations(life) {
  return life.flatMap(({ state, at }, n) => [
    ...(n === 0 ? [] : [element("li", { className: "arrow", textContent: "→" })]),
    element("li", { className: state, textContent: state }, element("small", { textContent: `${Math.round(at - life[0].at)} ms` })),
  ]);
}

function showState() {
  const state = peer?.connectionState ?? "new";
  $("lamp").className = `lamp ${state}`;
  $("state").textContent = state === "new" ? "connecting" : state;
  if (state !== "connected") $("rtt").textContent = "";
}

function trouble(error) {
  $("trouble").textContent = error.message;
  $("trouble").hidden = false;
}

function clearTrouble() {
  $("trouble").hidden = true;
}

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function size(bytes) {
  const units = ["B", "kB", "MB", "GB"];
  let unit = 0;
  for (; bytes >= 1000 && unit < units.length - 1; unit++) bytes /= 1000;
  return `${unit === 0 ? Math.round(bytes) : bytes.toFixed(1)} ${units[unit]}`;
}

function duration(seconds) {
  if (!Number.isFinite(seconds)) return "some time";
  return seconds < 60 ? `${seconds.toFixed(1)} s` : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

function sleep(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
