// A program that talks in lines.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

export function start([program, ...rest], ...more) {
  const child = spawn(program, [...rest, ...more.map(String)], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ended = new Promise((resolve) => {
    child.on("exit", resolve);
    child.on("error", resolve);
  });
  child.stdin.on("error", () => {});
  return {
    write: (line = "") => child.stdin.write(`${line}\n`),
    read: async () => {
      const { value, done } = await lines.next();
      if (done) throw new Error(`${program} ${rest.join(" ")} ended early`);
      return value;
    },
    kill: () => child.kill(),
    // Lets it end by itself at the end of its input.
    leave: async () => {
      child.stdin.end();
      await ended;
    },
  };
}
