// A process of its own for one side of a benchmark, so that its peak memory is its own: it answers each line on its standard
// input with one JSON line, and the end of input with a last one.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

export interface Worker {
  ask<T>(line: string): Promise<T>;
  finish<T>(): Promise<T>;
}

export function startWorker(command: string, args: readonly string[], env = process.env): Worker {
  const child = spawn(command, args, { env, stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async <T>(): Promise<T> => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`${command} ${args.join(" ")} ended without an answer`);
    return JSON.parse(value) as T;
  };
  return {
    ask(line) {
      child.stdin.write(`${line}\n`);
      return answer();
    },
    finish() {
      child.stdin.end();
      return answer();
    },
  };
}
