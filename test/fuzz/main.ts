// npm run fuzz -- SECONDS [SEED]: looks for what the tests' fixed seeds do not find, from a random seed that it prints. First the
// round trip of ONNX's own backend models, where Python has the onnx package; then half of the time each the property tests with seed
// after seed, and damaged models and data files (none may crash, hang or take more than 1 GB). Exit 1 where anything is found.

import { type ChildProcess, fork, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { pythonWith } from "../../bench/python.ts";
import { decodeModel } from "../../src/onnx/decode.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import { canonical } from "../onnx/samples.ts";
import { casesOf } from "./cases.ts";
import type { Told } from "./worker.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const MOST_MB = 1024;
const HANG_SECONDS = 30;

const seconds = Number(process.argv[2] ?? 60);
const seed = Number(process.argv[3] ?? Math.floor(Math.random() * 2 ** 31));
if (!(seconds > 0) || !Number.isInteger(seed)) {
  console.error("npm run fuzz -- SECONDS [SEED]");
  process.exit(2);
}
console.log(`seed ${seed}: the same again by npm run fuzz -- ${seconds} ${seed}`);

const found: string[] = [];
const tell = (text: string): void => {
  found.push(text);
  console.log(text);
};

await roundTrips();
const left = performance.now() + 1000 * seconds;
properties(performance.now() + (1000 * seconds) / 2);
await damaged(left);
console.log(found.length === 0 ? "nothing found" : `${found.length} found`);
process.exit(found.length === 0 ? 0 : 1);

/** Each of ONNX's backend models comes out as it went in. */
async function roundTrips(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "lowrank-fuzz-"));
  try {
    const python = pythonWith(["onnx"]);
    const made = python === null ? null : spawnSync(python, [join(root, "bench/backend-models.py"), folder]);
    if (made?.status !== 0) return console.log("backend models: not tried, Python's onnx package is not there");
    const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".onnx"));
    for (const file of files) {
      const bytes = new Uint8Array(readFileSync(join(folder, file)));
      const why = await decodeModel(bytes).then(
        (model) => (canonical(encodeModel(model)) === canonical(bytes) ? null : "is not the same after a round trip"),
        (error) => `is refused: ${error.message}`,
      );
      if (why !== null) tell(`backend model ${file} ${why}`);
    }
    console.log(`backend models: ${files.length} read and written again`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The property tests, seed after seed. */
function properties(end: number): void {
  let rounds = 0;
  do {
    const own = seed + rounds++;
    const files = ["onnx", "graph", "linalg", "search", "reproduce/experiments"].map((part) => `test/${part}`);
    const { status, stdout } = spawnSync("npx", ["vitest", "run", ...files], {
      cwd: root,
      encoding: "utf8",
      env: { ...process.env, LOWRANK_SEED: String(own) },
    });
    if (status !== 0) tell(`property tests fail with LOWRANK_SEED=${own}:\n${stdout}`);
  } while (performance.now() < end && found.length === 0);
  console.log(`property tests: ${rounds} seeds`);
}

/** Damaged files, in a process that is watched and begun again where it ends. */
async function damaged(end: number): Promise<void> {
  let [at, most] = [seed, 0];
  const fail = (number: number, why: string): void => {
    const { extension, bytes } = casesOf()(number);
    const file = join(tmpdir(), `lowrank-fuzz-${number}.${extension}`);
    writeFileSync(file, bytes);
    tell(`damaged file ${number}: ${why}\n  kept as ${file}`);
  };
  while (performance.now() < end) {
    const worker = fork(fileURLToPath(new URL("./worker.ts", import.meta.url)), [String(at)], {
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    const ended = await watched(worker, end, {
      at: (number, mb) => {
        at = number;
        most = Math.max(most, mb);
      },
      failed: fail,
      tooMuch: () => most > MOST_MB,
    });
    if (ended === null) break;
    fail(at, ended);
    if (most > MOST_MB) most = 0;
    at++;
  }
  console.log(`damaged files: ${at - seed}, at most ${Math.round(most)} MB`);
}

interface Watch {
  at(number: number, mb: number): void;
  failed(number: number, why: string): void;
  tooMuch(): boolean;
}

/** Why the worker ended before its time; null where its time was up. */
function watched(worker: ChildProcess, end: number, watch: Watch): Promise<string | null> {
  return new Promise((resolve) => {
    let last = performance.now();
    let errors = "";
    const stop = (why: string | null): void => {
      clearInterval(timer);
      worker.removeAllListeners();
      worker.kill("SIGKILL");
      resolve(why);
    };
    const timer = setInterval(() => {
      if (performance.now() > end) stop(null);
      else if (performance.now() - last > 1000 * HANG_SECONDS) stop(`no answer within ${HANG_SECONDS} seconds`);
    }, 250);
    worker.stderr!.on("data", (text) => {
      errors = `${errors}${text}`.slice(-4000);
    });
    worker.on("message", (told: Told) => {
      last = performance.now();
      if ("failed" in told) return watch.failed(told.failed, told.why);
      watch.at(told.at, told.mb);
      if (watch.tooMuch()) stop(`more than ${MOST_MB} MB`);
    });
    worker.on("exit", (code, signal) => stop(`the process ended (${signal ?? code})\n${errors}`));
  });
}
