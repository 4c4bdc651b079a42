// Runs every sender against every receiver, and prints the table. `tests/relay` calls it.
import { mkdirSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { start } from "./child.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const [binary, ...options] = process.argv.slice(2);
const option = (name, otherwise) => {
  const at = options.indexOf(`--${name}`);
  return at < 0 ? otherwise : options[at + 1];
};
const list = (name, otherwise) => option(name, otherwise).split(",");
const isQuick = options.includes("--quick");
const bytes = Number(option("bytes", "4000000"));
const seconds = Number(option("seconds", "2"));
const rounds = Number(option("rounds", isQuick ? "1" : "5"));
const senders = list("senders", "chromium,firefox,libdatachannel,libwebrtc,aiortc");
const logs = option("log", "");
// An upload that is still not measured ends after this.
const UPLOAD_MAX = 30_000;
const RATIO_MIN = 0.9;

// libwebrtc does not use loopback addresses.
const address = Object.values(networkInterfaces()).flat()
  .find((one) => one.family === "IPv4" && !one.internal)?.address ?? "127.0.0.1";

const programs = {
  chromium: [binary, "browser", "chromium"],
  firefox: [binary, "browser", "firefox"],
  libdatachannel: ["node", join(here, "sender.mjs"), "libdatachannel"],
  libwebrtc: ["node", join(here, "sender.mjs"), "libwebrtc"],
  aiortc: [join(here, "python/bin/python"), join(here, "sender.py")],
};
const receivers = {
  narrowboat: [binary, "receive"],
  libwebrtc: ["node", join(here, "receiver.mjs")],
};

// A sender: `begin` makes an offer come, `end` is after an upload. A browser is started once for all of them.
const browsers = {};
function sender(name) {
  const isBrowser = programs[name][1] === "browser";
  if (!isBrowser) {
    const child = start(programs[name], bytes);
    return { ...child, begin: () => {}, end: child.kill };
  }
  const child = browsers[name] ??= start(programs[name], bytes);
  return { ...child, begin: child.write, end: child.write };
}

const lines = (sdp) => sdp.split(/\r?\n/).filter((line) => line);
const isCandidate = (line) => line.startsWith("a=candidate:") || line.startsWith("a=end-of-candidates");

// Returns the address of the end that a description names.
function host(description) {
  const fields = description.filter(isCandidate).map((line) => line.split(" "))
    .filter((one) => one[2]?.toLowerCase() === "udp" && /^\d+\.\d+\.\d+\.\d+$/.test(one[4]));
  const found = fields.find((one) => one[4] === address) ?? fields[0];
  if (!found) throw new Error(`no IPv4 candidate in\n${description.join("\n")}`);
  return `${found[4]}:${found[5]}`;
}

// Carries the descriptions. Neither end learns of the other's own addresses, so all packets take the relay.
async function connect(from, to, relay) {
  const port = await relay.read();
  from.begin();
  const offer = lines(JSON.parse(await from.read())).filter((line) => !isCandidate(line));
  to.write(JSON.stringify(`${offer.join("\r\n")}\r\n`));
  const answer = lines(JSON.parse(await to.read()));
  relay.write(host(answer));
  const candidate = `a=candidate:1 1 udp 2130706431 ${address} ${port} typ host`;
  const kept = answer.filter((line) => !isCandidate(line));
  from.write(JSON.stringify(`${[...kept, candidate].join("\r\n")}\r\n`));
}

// One upload. Returns its rate in Mbit/s.
async function upload(name, receiver, [loss, rtt], seed) {
  const log = logs ? [join(logs, `${name}-${receiver}-${loss}-${rtt}-${seed}.log`)] : [];
  const relay = start([binary], "relay", address, loss, rtt, seed, ...log);
  const from = sender(name);
  const to = start(receivers[receiver], bytes, seconds);
  let timer;
  try {
    const run = async () => {
      await connect(from, to, relay);
      const [received, milliseconds] = (await to.read()).split(" ").map(Number);
      from.end();
      return (received * 8) / 1000 / milliseconds;
    };
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`${name} to ${receiver}: nothing measured`)), UPLOAD_MAX);
    });
    return await Promise.race([run(), late]);
  } catch (error) {
    console.error(String(error));
    // The browser leaves, whatever its state.
    if (browsers[name]) {
      await browsers[name].leave();
      delete browsers[name];
    } else {
      from.end();
    }
    return 0;
  } finally {
    clearTimeout(timer);
    relay.kill();
    to.kill();
  }
}

// The value below which this share of the values is.
function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * share;
  const [low, high] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
  return low + (high - low) * (at - Math.floor(at));
}

const cell = (text, width) => String(text).padStart(width);
const spread = (values) => `${quantile(values, 0.5).toFixed(1)} (${quantile(values, 0.25).toFixed(1)}-${quantile(values, 0.75).toFixed(1)})`;

async function line(name, path) {
  const rates = { narrowboat: [], libwebrtc: [] };
  for (let round = 0; round < rounds; round += 1) {
    // By turns, so that a busy moment hits both; and both lose the same packets, counted from the first.
    const order = Object.keys(receivers);
    if (round % 2) order.reverse();
    for (const receiver of order) rates[receiver].push(await upload(name, receiver, path, 1 + round));
  }
  const ratio = quantile(rates.narrowboat, 0.5) / quantile(rates.libwebrtc, 0.5);
  const isMet = ratio >= RATIO_MIN;
  const [loss, rtt] = path;
  console.log(`${name.padEnd(15)}${cell(`${loss} %`, 5)}${cell(`${rtt} ms`, 7)}${cell(spread(rates.narrowboat), 23)}`
    + `${cell(spread(rates.libwebrtc), 23)}${cell(ratio.toFixed(2), 7)}  ${isMet ? "" : "missed"}`);
  return isMet;
}

if (logs) mkdirSync(logs, { recursive: true });
console.log(`Uploads over one data channel through a relay that delays and loses packets at random, both ways. What counts is
the rate at which the receiver's application gets messages, in Mbit/s: from the channel's arrival until
${bytes / 1e6} MB in messages of 16 KiB have come, or ${seconds} s are over. The same sender uploads to this project and to
libwebrtc (@roamhq/wrtc), by turns, through the same pattern of loss. A column holds the median of ${rounds} uploads and, in
brackets, the quartiles. The last one is this project's median divided by libwebrtc's; the goal is ${RATIO_MIN}.
`);
console.log(`${"sender".padEnd(15)}${cell("loss", 5)}${cell("RTT", 7)}${cell("to narrowboat", 23)}${cell("to libwebrtc", 23)}${cell("ratio", 7)}`);
let missed = 0;
for (const name of senders) {
  for (const rtt of list("rtt", "0,40")) {
    for (const loss of list("loss", "0,1,5")) {
      if (!await line(name, [loss, rtt])) missed += 1;
    }
  }
  await browsers[name]?.leave();
}
if (missed) console.log(`\n${missed} goals missed`);
process.exit(missed ? 1 : 0);
