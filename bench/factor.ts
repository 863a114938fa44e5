// Time and memory to factor every layer of a network shaped like VGG-16 (Simonyan and Zisserman 2015), seeded random
// weights: convolutions as channel at half their rank, fully connected layers as svd at rank 512, under the plain metric;
// against NumPy's SVD of the same matrices. Both sides hold the whole model and take each layer in turn, in processes of their
// own. Besides, by itself, the truncated SVD of the largest layer with a flat and with a falling spectrum.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { random, seedFor } from "../src/linalg/random.ts";
import { pythonWith } from "./python.ts";
import type { BenchResult } from "./result.ts";
import { startWorker, type Worker } from "./worker.ts";

/** A weight of F x C x X x Y (X = Y = 1 where fully connected) to be brought to this rank. */
export interface Case {
  readonly name: string;
  readonly dims: readonly [number, number, number, number];
  readonly rank: number;
}

const CONVOLUTIONS = [
  ["conv1_1", 64, 3],
  ["conv1_2", 64, 64],
  ["conv2_1", 128, 64],
  ["conv2_2", 128, 128],
  ["conv3_1", 256, 128],
  ["conv3_2", 256, 256],
  ["conv3_3", 256, 256],
  ["conv4_1", 512, 256],
  ["conv4_2", 512, 512],
  ["conv4_3", 512, 512],
  ["conv5_1", 512, 512],
  ["conv5_2", 512, 512],
  ["conv5_3", 512, 512],
] as const;

const FC6 = "fc6";

const CASES: readonly Case[] = [
  // conv1_1 has no more than 27 inputs.
  ...CONVOLUTIONS.map(([name, F, C]): Case => ({ name, dims: [F, C, 3, 3], rank: Math.min(F / 2, 9 * C) })),
  { name: FC6, dims: [4096, 25088, 1, 1], rank: 512 },
  { name: "fc7", dims: [4096, 4096, 1, 1], rank: 512 },
  { name: "fc8", dims: [1000, 4096, 1, 1], rank: 512 },
];

/** What a worker says of a layer, in seconds, and in the end of all of them. */
interface Timed {
  readonly seconds: number;
}
interface Finished {
  readonly version: string;
  readonly peak_bytes: number;
  /** ||W~ - W||_F / ||W||_F, by layer. */
  readonly errors: Readonly<Record<string, number>>;
}

/** Arguments: --quick leaves the peer's fc6 out, which takes it a minute, and the exact error of the falling spectrum. */
export async function factor(args: readonly string[]): Promise<BenchResult> {
  const quick = args.includes("--quick");
  const folder = mkdtempSync(join(tmpdir(), "lowrank-factor-"));
  try {
    for (const one of CASES) writeFileSync(join(folder, `${one.name}.f32`), weights(one));
    writeFileSync(join(folder, "cases.json"), JSON.stringify(CASES));
    const result = await race(folder, quick);
    const truncated = [];
    for (const spectrum of ["flat", "falling"]) truncated.push(await truncatedSvd(folder, spectrum, quick));
    return { ...result, detail: { ...result.detail, truncated_svd: truncated } };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Uniform numbers of He's variance. */
function weights({ name, dims: [F, C, X, Y] }: Case): Float32Array {
  const rng = random(seedFor(1, name));
  const width = 2 * Math.sqrt(6 / (C * X * Y));
  const out = new Float32Array(F * C * X * Y);
  for (let i = 0; i < out.length; i++) out[i] = width * (rng() - 0.5);
  return out;
}

async function race(folder: string, quick: boolean) {
  const ours = await startWorker(process.execPath, [...process.execArgv, path("factor-worker.ts"), "layers", folder]);
  const peer = await startPeer(folder);
  const seconds: { name: string; ours: number; peer: number | null }[] = [];
  for (const { name } of CASES) {
    process.stderr.write(`\r${name}\x1b[K`);
    const mine = await ours.ask<Timed>(name);
    const theirs = quick && name === FC6 ? null : await peer?.ask<Timed>(name);
    seconds.push({ name, ours: mine.seconds, peer: theirs?.seconds ?? null });
  }
  process.stderr.write("\r\x1b[K");
  const [end, peerEnd] = [await ours.finish<Finished>(), (await peer?.finish<Finished>()) ?? null];
  const layers = seconds.map((times, i) => {
    const error = end.errors[times.name]!;
    const peerError = peerEnd?.errors[times.name] ?? null;
    const excess = peerError === null ? null : error / peerError - 1;
    return { ...times, rank: CASES[i]!.rank, error, peer_error: peerError, excess_error: excess };
  });
  const compared = layers.filter((layer) => layer.peer !== null);
  const total = compared.reduce((sum, layer) => sum + layer.ours, 0);
  const peerTotal = compared.reduce((sum, layer) => sum + layer.peer!, 0);
  const modelBytes = CASES.reduce((sum, { dims }) => sum + 4 * dims.reduce((x, y) => x * y), 0);
  const all = layers.reduce((sum, layer) => sum + layer.ours, 0);
  const detail = {
    compared_layers: compared.length,
    all_layers_seconds: all,
    model_bytes: modelBytes,
    peak_bytes: end.peak_bytes,
    peak_over_model: end.peak_bytes / modelBytes,
    peer_peak_bytes: peerEnd?.peak_bytes ?? null,
    layers,
  };
  const common = { name: "factor", unit: "seconds", detail };
  if (peerEnd === null) {
    return { ...common, ours: all, peer: null, peer_name: null, peer_version: null, ratio: null };
  }
  const peerSide = { peer: peerTotal, peer_name: "numpy.linalg.svd", peer_version: peerEnd.version };
  return { ...common, ours: total, ...peerSide, ratio: peerTotal / total };
}

/** Null where Python or NumPy is missing. */
async function startPeer(folder: string): Promise<Worker | null> {
  const python = pythonWith(["numpy"]);
  if (python === null) return null;
  // NumPy as its user would run it: OpenBLAS finds the processor by itself.
  const { OPENBLAS_CORETYPE: _core, OPENBLAS_L2_SIZE: _cache, ...env } = process.env;
  return startWorker(python, [path("peers/factor.py"), folder], env);
}

/** A process that holds nothing but the matrix of fc6. */
async function truncatedSvd(folder: string, spectrum: string, quick: boolean) {
  process.stderr.write(`\rtruncated SVD, ${spectrum}\x1b[K`);
  const how = ["svd", folder, spectrum, quick || spectrum === "flat" ? "" : "exact"];
  const worker = await startWorker(process.execPath, [...process.execArgv, path("factor-worker.ts"), ...how]);
  const found = await worker.finish<object>();
  process.stderr.write("\r\x1b[K");
  return { spectrum, matrix: [4096, 25088], rank: 512, ...found };
}

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));
