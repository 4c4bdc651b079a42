// The page of `cargo run --example drop`. Channels, all opened here:
//   "control"        texts: {ping}, {loss} to the service; {pong, now}, {life} from it
//   "ticks-reliable" and "ticks-newest": a float64 from the service 60 times a second, its clock in milliseconds
//   "file"           a text {name, size}, then the bytes; the service answers with {received} and at last {sha256, saved}
const $ = (id) => document.getElementById(id);
const CHUNK = 64 * 1024;
const QUEUE_MAX = 4 * 1024 * 1024;

let peer = null;
let control = null;
// The service's clock minus ours, from the ping with the shortest way.
let clock = { offset: 0, rtt: Infinity };

start();

async function start() {
  $("choose").addEventListener("change", (event) => send([...event.target.files]));
  const target = $("target");
  for (const name of ["dragover", "dragleave", "drop"]) {
    target.addEventListener(name, (event) => {
      event.preventDefault();
      target.classList.toggle("over", name === "dragover");
      if (name === "drop") send([...event.dataTransfer.files]);
    });
  }
  $("loss").addEventListener("input", tellLoss);
  for (;;) {
    clearTrouble();
    try {
      await live();
    } catch (error) {
      trouble(error);
    }
    target.classList.add("off");
    await sleep(2000);
  }
}

// One connection, from its beginning to its end.
async function live() {
  const response = await fetch("ticket.json").catch(() => null);
  if (!response?.ok) throw new Error("The service does not answer. Is it still running? This page tries again by itself.");
  const ticket = await response.json();
  peer = new RTCPeerConnection();
  clock = { offset: 0, rtt: Infinity };
  peer.onconnectionstatechange = showState;
  control = peer.createDataChannel("control");
  control.onmessage = onControl;
  control.onopen = () => { tellLoss(); ping(); $("target").classList.remove("off"); };
  const pinging = setInterval(ping, 1000);
  const reliable = plot("reliable", {});
  const newest = plot("newest", { ordered: false, maxRetransmits: 0 });
  const drawing = setInterval(() => { reliable.draw(performance.now()); newest.draw(performance.now()); }, 50);
  showState();
  try {
    await connectDirect(peer, ticket);
    await ended(peer);
  } finally {
    clearInterval(pinging);
    clearInterval(drawing);
    peer.close();
    showState();
  }
}

// Rejects when the connection is over, saying what may be the matter.
function ended(peer) {
  return new Promise((_, reject) => {
    let connected = false;
    const late = setTimeout(() => reject(new Error(unreachable())), 20_000);
    const look = () => {
      const state = peer.connectionState;
      if (state === "connected") { connected = true; clearTimeout(late); clearTrouble(); }
      if (state === "disconnected") trouble(new Error("Nothing comes from the service any more. Waiting for it…"));
      if (state === "failed" || state === "closed") {
        clearTimeout(late);
        reject(new Error(connected ? "The connection was lost. Trying again…" : unreachable()));
      }
    };
    peer.addEventListener("connectionstatechange", look);
    control.addEventListener("close", () => { if (connected) reject(new Error("The service closed the connection. Trying again…")); });
    look();
  });
}

function unreachable() {
  return `No way to the service over UDP.
• A firewall between here and there may drop UDP: allow it on the port that the service prints.
• Firefox never uses 127.0.0.1: the machine needs a network address, or open the page at the other URL that the service prints.
• If the service was restarted, this page picks up its new certificate by itself in a moment.`;
}

function plot(name, options) {
  const view = new AgePlot($(`plot-${name}`), $(`age-${name}`));
  const channel = peer.createDataChannel(`ticks-${name}`, options);
  channel.binaryType = "arraybuffer";
  channel.onmessage = ({ data }) => {
    const now = performance.now();
    view.add(now, now + clock.offset - new DataView(data).getFloat64(0));
  };
  return view;
}

function ping() {
  if (control?.readyState === "open") control.send(JSON.stringify({ ping: performance.now() }));
}

function tellLoss() {
  const percent = Number($("loss").value);
  $("loss-value").textContent = `${percent} %`;
  if (control?.readyState === "open") control.send(JSON.stringify({ loss: percent / 100 }));
}

function onControl({ data }) {
  const message = JSON.parse(data);
  if (message.pong !== undefined) {
    const now = performance.now(), rtt = now - message.pong;
    if (rtt < clock.rtt) clock = { rtt, offset: message.now - (message.pong + rtt / 2) };
    $("rtt").textContent = `round trip ${rtt.toFixed(1)} ms`;
  }
  if (message.life !== undefined) document.getElementById(`life-${message.life}`)?.replaceWith(lifeOf(message.life, message.states));
}

async function send(files) {
  for (const file of files) await sendFile(file).catch(() => {});
  $("choose").value = "";
}

async function sendFile(file) {
  const view = fileView(file);
  const channel = peer.createDataChannel("file");
  const life = [];
  const mark = (state) => {
    life.push({ state, at: performance.now() });
    view.life.replaceChildren(...stations(life));
  };
  mark(channel.readyState);
  channel.addEventListener("open", () => mark("open"));
  channel.addEventListener("closing", () => { if (life.at(-1).state !== "closing") mark("closing"); });
  channel.addEventListener("error", ({ error }) => { mark("error"); view.say(`failed: ${error?.message ?? "the connection was lost"}`); });
  const closed = new Promise((resolve) => channel.addEventListener("close", () => { mark("closed"); resolve(); }));
  const receipt = new Promise((resolve, reject) => {
    channel.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.received !== undefined) view.progress(message.received);
      if (message.failed !== undefined) reject(new Error(message.failed));
      if (message.sha256 !== undefined) resolve(message);
    };
    closed.then(() => reject(new Error("the channel closed before the service had it all")));
  });
  receipt.catch(() => {}); // Said where it is awaited.
  try {
    await Promise.race([opened(channel), receipt]);
    view.serverLife.id = `life-${channel.id}`;
    channel.send(JSON.stringify({ name: file.name, size: file.size }));
    const hash = new Sha256();
    for (let at = 0; at < file.size; at += CHUNK) {
      const bytes = new Uint8Array(await file.slice(at, at + CHUNK).arrayBuffer());
      hash.update(bytes);
      await Promise.race([room(channel), receipt]);
      channel.send(bytes);
    }
    const sent = hash.hex();
    const { sha256, saved } = await receipt;
    view.done(sent, sha256, saved);
  } catch (error) {
    view.say(`failed: ${error.message}`);
  }
  if (channel.readyState === "open" || channel.readyState === "connecting") {
    channel.close();
    mark(channel.readyState);
  }
  await closed;
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
  $("files").prepend(element("div", { className: "card" },
    element("p", { className: "name", textContent: file.name }), bar, numbers, hash,
    element("div", { className: "who", textContent: "the channel's life, here" }), life, serverLife));
  return {
    life, serverLife,
    say: (text) => { numbers.textContent = text; },
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

function lifeOf(id, states) {
  const life = states.map(([state, at]) => ({ state, at }));
  return element("div", { id: `life-${id}` }, element("div", { className: "who", textContent: "and at the service" }),
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
