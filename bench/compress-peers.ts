// The peers of the benchmark `compress`, in processes of their own: other ways to choose and to factor, written from their
// descriptions (bench/peers). They are given the same images, preprocessed, and write ONNX files, so that all is measured alike.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { batches, sample } from "../src/data/batches.ts";
import type { Dataset } from "../src/data/dataset.ts";
import type { ModelInputs } from "../src/data/feeds.ts";
import { type Model, readModelFile } from "../src/index.ts";
import { pythonWith } from "./python.ts";
import { startWorker } from "./worker.ts";

const PEERS = [
  { name: "greedy spatial SVD", script: "greedy-spatial.py" },
  { name: "Tucker-2 by VBMF", script: "tucker2-vbmf.py" },
] as const;

export interface PeerNetwork {
  readonly peer: string;
  /** Share of the MACs that it was to keep. */
  readonly budget: number;
  readonly model: Model;
  /** Seconds to look into all layers and to choose for this budget. */
  readonly seconds: number;
  /** By layer: output channels of all its stages but the last. */
  readonly ranks: Readonly<Record<string, readonly number[]>>;
}

export interface Peers {
  /** Of PyTorch. */
  readonly version: string;
  readonly networks: readonly PeerNetwork[];
}

/**
 * Every peer's network at every budget.
 * @param count images of `data` to choose by, with their labels: those that lowrank draws
 * @returns null where Python, PyTorch or the reader of ONNX files is missing
 */
export async function peerNetworks(
  model: string,
  budgets: readonly number[],
  data: Dataset,
  inputs: ModelInputs,
  count: number,
): Promise<Peers | null> {
  const python = pythonWith(["numpy", "onnx", "torch"]);
  if (python === null) return null;
  const folder = mkdtempSync(join(tmpdir(), "lowrank-compress-"));
  try {
    await writeImages(folder, data, inputs, count);
    const networks: PeerNetwork[] = [];
    let version = "";
    for (const { name, script } of PEERS) {
      process.stderr.write(`\r${name}\x1b[K`);
      const found = await ask(python, join("peers", script), model, folder, budgets);
      for (const each of found.networks) networks.push({ peer: name, ...each });
      version = found.version;
    }
    return { version, networks };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function writeImages(folder: string, data: Dataset, inputs: ModelInputs, count: number): Promise<void> {
  const indices = sample(data, count, 0);
  for await (const { feeds, labels } of batches(data, inputs, { indices, batch: count })) {
    const [input] = Object.values(feeds);
    writeFileSync(join(folder, "images.f32"), input!.data as Float32Array<ArrayBuffer>);
    writeFileSync(join(folder, "images.json"), JSON.stringify(input!.dims));
    writeFileSync(join(folder, "labels.i32"), labels!);
  }
}

/** Threads that they may use: both cores of a small machine, as lowrank does, and like there they wait without spinning. */
const THREADS = "2";
const WAITING = { OMP_WAIT_POLICY: "passive", GOMP_SPINCOUNT: "0" };

async function ask(python: string, script: string, model: string, folder: string, budgets: readonly number[]) {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const { OPENBLAS_CORETYPE: _core, OPENBLAS_L2_SIZE: _cache, ...env } = process.env;
  const worker = startWorker(python, [path, model, folder, THREADS], { ...env, ...WAITING });
  const networks: Omit<PeerNetwork, "peer">[] = [];
  for (const budget of budgets) {
    const file = join(folder, "peer.onnx");
    const { seconds, ranks } = await worker.ask<PeerNetwork>(JSON.stringify({ budget, file }));
    networks.push({ budget, model: await readModelFile(file), seconds, ranks });
  }
  const { version } = await worker.finish<{ version: string }>();
  return { networks, version };
}
