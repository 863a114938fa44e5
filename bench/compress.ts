// What compression costs and gains on the shared CIFAR-10 networks, from 512 training images and without tuning. First what is asked
// of it alone: shares of ResNet-20's MACs without labels, and the fastest form of a network of the paper's kind within one point.
// Then against its peers at equal speed: at each share of MACs a peer's network is timed, and lowrank asked for one as fast.
// All networks of a share are timed in turn and answer the same test images.

import { join } from "node:path";
import { countCosts } from "../src/analyze/costs.ts";
import { feedShapes, type ModelInputs, resolveInputs } from "../src/analyze/input.ts";
import type { Dataset } from "../src/data/dataset.ts";
import { inferShapes } from "../src/graph/shapes.ts";
import {
  type CompressOptions,
  compareLatency,
  compress,
  evaluate,
  formatPlan,
  type Goals,
  type Latency,
  LowrankError,
  type Model,
  openDataset,
  readModelFile,
} from "../src/index.ts";
import { memoryMemo } from "../src/memo.ts";
import { type PeerNetwork, type Peers, peerNetworks } from "./compress-peers.ts";
import type { BenchResult } from "./result.ts";
import { cifar10, PREPROCESS, sharedModel, unlabelled } from "./shared.ts";

/** Networks, the shares of MACs at which they meet the peers, and what else is asked for, with labels. */
const CASES = [
  { name: "resnet20-cifar10", shares: [0.8, 0.7, 0.6], promises: [] },
  { name: "paper-cifar10", shares: [0.5, 0.35, 0.25], promises: [{ goals: { maxDrop: 1 } }] },
] as const;

const IMAGES = 512;

/** Seconds for each network that is timed, and for a first look at a peer's. */
const SECONDS = 6;
const LOOK_SECONDS = 3;

/** A peer's network that is less than this much faster than the original asks nothing of lowrank. */
const FASTER = 1.02;

/** A network, and how it came about. */
interface Entry {
  /** "original", "lowrank" or a peer. */
  readonly by: string;
  /** What was asked for, e.g. "macs 0.8". */
  readonly asked: string;
  readonly model: Model;
  /** To find and to make it. */
  readonly seconds: number;
  readonly plan?: unknown;
}

/** An entry as it is printed. */
interface Row extends Omit<Entry, "model"> {
  /** Shares of the original's. */
  readonly macs: number;
  readonly params: number;
  readonly top1: number;
  /** Points of top-1 on the test images, and its 95% interval. */
  readonly drop: number;
  readonly dropCi95: readonly [number, number];
  readonly speedupBatch1: Latency["ratioToFirst"];
  readonly speedupBatch32: Latency["ratioToFirst"];
}

interface Subject {
  readonly name: string;
  readonly source: Model;
  readonly inputs: ModelInputs;
  readonly train: Dataset;
  readonly test: Dataset;
}

/** Arguments: names of networks, by default both; --brief takes the first share of each only. */
export async function compressBench(args: readonly string[]): Promise<BenchResult> {
  const wanted = args.filter((arg) => !arg.startsWith("--"));
  const folder = cifar10();
  const [train, test] = [await openDataset(join(folder, "train")), await openDataset(join(folder, "test"))];
  const detail = [];
  let version: string | null = null;
  for (const one of CASES.filter(({ name }) => wanted.length === 0 || wanted.includes(name))) {
    const file = sharedModel(`${one.name}.onnx`);
    const source = await readModelFile(file);
    const subject = { name: one.name, source, inputs: resolveInputs(source, PREPROCESS), train, test };
    const shares = args.includes("--brief") ? one.shares.slice(0, 1) : one.shares;
    const peers = await peerNetworks(file, shares, train, subject.inputs, IMAGES);
    version ??= peers?.version ?? null;
    detail.push(...(await promised(subject, one.promises)), ...(await raced(subject, shares, peers)));
  }
  process.stderr.write("\r\x1b[K");
  return summarise(detail, version);
}

/** Lowrank alone, by its own defaults. */
async function promised(subject: Subject, promises: readonly { goals: Goals }[]) {
  const found = [];
  for (const { goals } of promises) {
    const entry = await byLowrank(subject, goals, { data: subject.train });
    found.push({ network: subject.name, share: null, rows: await measured(subject, entry === null ? [] : [entry]) });
  }
  return found;
}

/** At each share of MACs: lowrank, the peers, and lowrank as fast as each of them. */
async function raced(subject: Subject, shares: readonly number[], peers: Peers | null) {
  const data = unlabelled(subject.train);
  const found = [];
  // What is found out about candidates does not depend on the speed asked for, and is kept from one to the next.
  const memo = memoryMemo();
  for (const share of shares) {
    const own = await byLowrank(subject, { macs: share }, { data, images: IMAGES });
    const entries = own === null ? [] : [own];
    for (const peer of peers?.networks.filter(({ budget }) => budget === share) ?? []) {
      entries.push(byPeer(peer));
      const speed = await speedOf(subject, peer);
      const rival = speed < FASTER ? null : await byLowrank(subject, { speed }, { data, images: IMAGES, memo });
      if (rival !== null) entries.push({ ...rival, asked: `as fast as ${peer.peer}` });
    }
    found.push({ network: subject.name, share, rows: await measured(subject, entries) });
  }
  return found;
}

/** Null where it is out of reach. */
async function byLowrank({ name, source }: Subject, goals: Goals, more: Partial<CompressOptions>) {
  const asked = Object.entries(goals)
    .map(([goal, value]) => `${goal} ${Number(value.toFixed(3))}`)
    .join(", ");
  const start = performance.now();
  try {
    const { model, plan } = await compress(source, {
      ...goals,
      ...more,
      threads: 1,
      preprocess: PREPROCESS,
      onProgress: ({ phase, done, total }) => tell(`${name} ${asked}: ${phase} ${done}/${total}`),
    });
    const seconds = (performance.now() - start) / 1000;
    const entry: Entry = { by: "lowrank", asked, model, seconds, plan: JSON.parse(formatPlan(plan)).layers };
    return entry;
  } catch (error) {
    if (!(error instanceof LowrankError) || error.code !== "unreachable") throw error;
    console.error(`\r${name} ${asked}: ${error.message}`);
    return null;
  }
}

const byPeer = ({ peer, budget, model, seconds, ranks }: PeerNetwork): Entry => {
  return { by: peer, asked: `macs ${budget}`, model, seconds, plan: ranks };
};

/** How many times as fast as the original, batch 1, one thread. */
async function speedOf({ source }: Subject, { peer, model }: PeerNetwork): Promise<number> {
  tell(`${peer}: latency`);
  const pair = [source, model].map((each, i) => ({ name: String(i), model: each }));
  const [, latency] = await compareLatency(pair, { threads: 1, seconds: LOOK_SECONDS });
  return latency!.ratioToFirst.speedup;
}

/** All in turn, the original among them. */
async function measured({ source, inputs, test }: Subject, entries: readonly Entry[]): Promise<readonly Row[]> {
  const all: readonly Entry[] = [{ by: "original", asked: "", model: source, seconds: 0 }, ...entries];
  const contenders = all.map(({ by, asked, model }) => ({ name: `${by} ${asked}`, model }));
  tell("latency");
  const one = await compareLatency(contenders, { batch: 1, threads: 1, seconds: SECONDS });
  const many = await compareLatency(contenders, { batch: 32, threads: 1, seconds: SECONDS });
  tell("accuracy");
  const models = all.map(({ model }) => model);
  const evaluation = await evaluate(models, test, inputs, { batch: 50 });
  const costs = models.map((model) => countCosts(model, inferShapes(model, feedShapes(inputs, 1))));
  return all.map(({ model: _, ...entry }, i) => {
    const { top1, versusFirst } = evaluation.models[i]!;
    return {
      ...entry,
      macs: costs[i]!.macs / costs[0]!.macs,
      params: costs[i]!.params / costs[0]!.params,
      top1: top1!,
      drop: versusFirst?.drop ?? 0,
      dropCi95: versusFirst?.dropCi95 ?? [0, 0],
      speedupBatch1: one[i]!.ratioToFirst,
      speedupBatch32: many[i]!.ratioToFirst,
    };
  });
}

type Race = Awaited<ReturnType<typeof raced>>[number] | Awaited<ReturnType<typeof promised>>[number];

/**
 * The wrong answers on the test images, lowrank's and a peer's where it is as fast: the mean over all of the peers' networks that
 * are faster than the original. Shares of errors and not of drops, which may be nothing or less.
 */
function summarise(detail: readonly Race[], version: string | null): BenchResult {
  const pairs = detail.flatMap(({ rows }) =>
    rows.flatMap((ours) => {
      const peer = rows.find(({ by }) => ours.asked === `as fast as ${by}`);
      return peer === undefined ? [] : [{ ours: 100 * (1 - ours.top1), peer: 100 * (1 - peer.top1) }];
    }),
  );
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const rest = { name: "compress", detail };
  if (pairs.length === 0) {
    const own = detail.flatMap(({ rows }) => rows.filter(({ by }) => by === "lowrank"));
    const ours = mean(own.map(({ top1 }) => 100 * (1 - top1)));
    const noPeer = { peer: null, peer_name: null, peer_version: null, ratio: null };
    return { ...rest, unit: "percent wrong on the test images, mean of all goals", ours, ...noPeer };
  }
  const [ours, peer] = [mean(pairs.map((pair) => pair.ours)), mean(pairs.map((pair) => pair.peer))];
  const unit = "percent wrong on the test images, mean over the peers' networks, at the speed of each";
  const peer_name = "greedy spatial SVD, Tucker-2 by VBMF";
  return { ...rest, unit, ours, peer, peer_name, peer_version: `PyTorch ${version}`, ratio: peer / ours };
}

const tell = (what: string) => process.stderr.write(`\r${what}\x1b[K`);
