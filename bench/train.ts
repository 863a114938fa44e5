// Images a second, and peak memory, of a full training step (forward, cross-entropy, backward, SGD with Nesterov's momentum) of
// the shared CIFAR-10 networks, against PyTorch on the CPU: the same weights, images, batch and threads, in processes of their
// own, in turn. A line is two steps, of which the second is timed.

import { fileURLToPath } from "node:url";
import { pythonWith } from "./python.ts";
import type { BenchResult } from "./result.ts";
import { sharedModel } from "./shared.ts";
import { startWorker, type Worker } from "./worker.ts";

const MODELS = ["resnet20-cifar10.onnx", "paper-cifar10.onnx"] as const;
const STEPS = 15;

interface Timed {
  readonly seconds: number;
  readonly loss: number;
}
interface Finished {
  readonly version: string;
  readonly peak_bytes: number;
}

/** Arguments: batch size, by default 64, and threads, by default 2. */
export async function trainBench([batch = "64", threads = "2"]: readonly string[]): Promise<BenchResult> {
  const detail = [];
  for (const name of MODELS) detail.push(await race(name, batch, threads));
  const ratios = detail.map(({ ratio }) => ratio).filter((ratio) => ratio !== null);
  const peer = detail.map((each) => each.peer).filter((each) => each !== null);
  return {
    name: "train",
    unit: "images a second, least of the cases",
    ours: Math.min(...detail.map((each) => each.ours)),
    peer: peer.length === 0 ? null : Math.min(...peer),
    peer_name: peer.length === 0 ? null : "PyTorch",
    peer_version: detail[0]!.peer_version,
    ratio: ratios.length === 0 ? null : Math.min(...ratios),
    detail,
  };
}

async function race(name: string, batch: string, threads: string) {
  const model = sharedModel(name);
  const ours = startWorker(process.execPath, [...process.execArgv, path("train-worker.ts"), model, batch, threads]);
  const peer = startPeer(model, batch, threads);
  const [mine, theirs]: [Timed[], Timed[]] = [[], []];
  for (let step = 0; step < STEPS; step++) {
    process.stderr.write(`\r${name} step ${step + 1}/${STEPS}\x1b[K`);
    mine.push(await ours.ask<Timed>("step"));
    await quiet();
    if (peer !== null) theirs.push(await peer.ask<Timed>("step"));
    await quiet();
  }
  process.stderr.write("\r\x1b[K");
  const [end, peerEnd] = [await ours.finish<Finished>(), (await peer?.finish<Finished>()) ?? null];
  const rate = Number(batch) / medianSeconds(mine);
  const peerRate = peerEnd === null ? null : Number(batch) / medianSeconds(theirs);
  return {
    model: name,
    batch: Number(batch),
    threads: Number(threads),
    ours: rate,
    peer: peerRate,
    peer_version: peerEnd?.version ?? null,
    ratio: peerRate === null ? null : rate / peerRate,
    peak_bytes: end.peak_bytes,
    peer_peak_bytes: peerEnd?.peak_bytes ?? null,
    losses: mine.map(({ loss }) => loss),
    peer_losses: theirs.map(({ loss }) => loss),
  };
}

/** Time for one side's threads to stop waiting for more work, which they do spinning, before the other begins. */
const quiet = () => new Promise((resolve) => setTimeout(resolve, 200));

/** The first steps warm up. */
function medianSeconds(timed: readonly Timed[]): number {
  const sorted = timed
    .slice(3)
    .map(({ seconds }) => seconds)
    .sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}

/** Null where Python, PyTorch or the reader of ONNX files is missing. */
function startPeer(model: string, batch: string, threads: string): Worker | null {
  const python = pythonWith(["numpy", "onnx", "torch"]);
  if (python === null) return null;
  const { OPENBLAS_CORETYPE: _core, OPENBLAS_L2_SIZE: _cache, ...env } = process.env;
  return startWorker(python, [path("peers/train.py"), model, batch, threads], env);
}

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));
