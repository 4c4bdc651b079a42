// Runs every sender against every receiver, and prints the table. `tests/relay` calls it.
import { spawn } from "node:child_process";
import { networkInterfaces } from "node:os";
import { createInterface } from "node:readline";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const [binary, ...options] = process.argv.slice(2);
const option = (name, otherwise) => {
  const at = options.indexOf(`--${name}`);
  return at < 0 ? otherwise : options[at + 1];
};
const list = (name, otherwise) => option(name, otherwise).split(",");
const bytes = Number(option("bytes", "2000000"));
const rounds = Number(option("rounds", "3"));
const TIME_MAX = 60_000;

// libwebrtc does not use loopback addresses.
const address = Object.values(networkInterfaces()).flat()
  .find((one) => one.family === "IPv4" && !one.internal)?.address ?? "127.0.0.1";

const programs = {
  libdatachannel: ["node", join(here, "sender.mjs"), "libdatachannel"],
  libwebrtc: ["node", join(here, "sender.mjs"), "libwebrtc"],
  aiortc: [join(here, "python/bin/python"), join(here, "sender.py")],
};
const receivers = {
  narrowboat: [binary, "receive"],
  libwebrtc: ["node", join(here, "receiver.mjs")],
};

// A child whose lines are read one by one.
function start([program, ...rest], ...more) {
  const child = spawn(program, [...rest, ...more.map(String)], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  child.stdin.on("error", () => {});
  return {
    write: (line) => child.stdin.write(`${line}\n`),
    read: async () => {
      const { value, done } = await lines.next();
      if (done) throw new Error(`${program} ${rest.join(" ")} ended early`);
      return value;
    },
    end: () => child.kill(),
  };
}

const lines = (sdp) => sdp.split(/\r?\n/).filter((line) => line);
const isCandidate = (line) => line.startsWith("a=candidate:") || line.startsWith("a=end-of-candidates");

// One upload. Returns its rate in Mbit/s.
async function upload(sender, receiver, loss, rtt) {
  const relay = start([binary], "relay", address, loss, rtt);
  const from = start(programs[sender], bytes);
  const to = start(receivers[receiver], bytes);
  let timer;
  try {
    const run = async () => {
      const port = await relay.read();
      // Neither end learns of the other's own addresses, so all packets take the relay.
      const offer = lines(JSON.parse(await from.read())).filter((line) => !isCandidate(line));
      to.write(JSON.stringify(`${offer.join("\r\n")}\r\n`));
      const answer = lines(JSON.parse(await to.read()));
      const fields = answer.filter(isCandidate).map((line) => line.split(" "))
        .filter((one) => one[2]?.toLowerCase() === "udp" && /^\d+\.\d+\.\d+\.\d+$/.test(one[4]));
      const host = fields.find((one) => one[4] === address) ?? fields[0];
      if (!host) throw new Error(`no IPv4 candidate in\n${answer.join("\n")}`);
      relay.write(`${host[4]}:${host[5]}`);
      const candidate = `a=candidate:1 1 udp 2130706431 ${address} ${port} typ host`;
      const kept = answer.filter((line) => !isCandidate(line));
      from.write(JSON.stringify(`${[...kept, candidate].join("\r\n")}\r\n`));
      return (bytes * 8) / 1000 / Number(await to.read());
    };
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`${sender} to ${receiver} took more than a minute`)), TIME_MAX);
    });
    return await Promise.race([run(), late]);
  } finally {
    clearTimeout(timer);
    [relay, from, to].forEach((child) => child.end());
  }
}

const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
const cell = (text, width) => String(text).padStart(width);

console.log(`Uploads of ${bytes} bytes in messages of 16 KiB, Mbit/s, median of ${rounds}`);
console.log(`${"sender".padEnd(16)}${cell("loss", 6)}${cell("RTT", 8)}${cell("narrowboat", 12)}${cell("libwebrtc", 11)}${cell("ratio", 7)}`);
for (const sender of list("senders", "libdatachannel,libwebrtc")) {
  for (const rtt of list("rtt", "0,40")) {
    for (const loss of list("loss", "0,1,5")) {
      const rates = { narrowboat: [], libwebrtc: [] };
      // In turns, so that a busy minute hits both.
      for (let round = 0; round < rounds; round += 1) {
        for (const receiver of Object.keys(receivers)) {
          try {
            rates[receiver].push(await upload(sender, receiver, loss, rtt));
          } catch (error) {
            console.error(String(error));
            rates[receiver].push(0);
          }
        }
      }
      const [ours, theirs] = [median(rates.narrowboat), median(rates.libwebrtc)];
      console.log(`${sender.padEnd(16)}${cell(`${loss} %`, 6)}${cell(`${rtt} ms`, 8)}${cell(ours.toFixed(1), 12)}`
        + `${cell(theirs.toFixed(1), 11)}${cell((ours / theirs).toFixed(2), 7)}`);
    }
  }
}
process.exit(0);
