// How well a plan's time is predicted: the search adds up the times of layers and candidates, each timed by itself, and takes the rest
// of the network to last as long as it did. Plans of falling time for the shared CIFAR-10 networks are applied, and each
// network is timed in turn with the original. Beside it, what MACs alone would have predicted.

import { join } from "node:path";
import { classScores } from "../src/answers/class-scores.ts";
import { methodsNamed } from "../src/approximate/methods.ts";
import type { Dataset } from "../src/data/dataset.ts";
import { openDataset, readModelFile } from "../src/index.ts";
import { withLinalg } from "../src/linalg/products.ts";
import { applyPlan, type Work } from "../src/pipeline/apply-plan.ts";
import { chooseImages } from "../src/pipeline/images.ts";
import { prepare } from "../src/pipeline/prepare.ts";
import { search } from "../src/pipeline/search.ts";
import { choosePlan, type Expected, present } from "../src/search/plan.ts";
import { scoreAll } from "../src/search/score.ts";
import { type CompressOptions, settingsOf } from "../src/settings/settings.ts";
import type { BenchResult } from "./result.ts";
import { cifar10, PREPROCESS, sharedModel, unlabelled } from "./shared.ts";

const NETWORKS = ["resnet20-cifar10", "paper-cifar10"];

/** Shares of the time of all layers. */
const SHARES = [0.8, 0.65, 0.5, 0.4, 0.3, 0.2];

const IMAGES = 512;
const SECONDS = 6;

interface Predicted {
  readonly network: string;
  /** Of the whole original, as the search measured it, and of the plan's network. */
  readonly msBefore: number;
  readonly msPredicted: number;
  readonly msMeasured: number;
  /** Times as fast as the original. */
  readonly predicted: number;
  readonly measured: number;
  readonly measuredCi95: readonly [number, number];
  /** Of the MACs: what they would have predicted. */
  readonly fewer_macs: number;
}

/** Arguments: shares of the time of all layers, by default 0.8, 0.65, 0.5, 0.4, 0.3, 0.2. */
export async function predictBench(args: readonly string[]): Promise<BenchResult> {
  const shares = args.length === 0 ? SHARES : args.map(Number);
  const train = unlabelled(await openDataset(join(cifar10(), "train")));
  const detail: Predicted[] = [];
  for (const name of NETWORKS) detail.push(...(await predict(name, train, shares)));
  process.stderr.write("\r\x1b[K");
  // The network's time against the time predicted.
  const errorOf = (speedup: (one: Predicted) => number) =>
    detail.reduce((sum, one) => sum + Math.abs(one.measured / speedup(one) - 1), 0) / detail.length;
  const ours = errorOf((one) => one.predicted);
  const peer = errorOf((one) => one.fewer_macs);
  const sides = { ours, peer, peer_name: "MACs taken for time", peer_version: null, ratio: peer / ours };
  return { name: "predict", unit: "mean relative error of a plan's time", ...sides, detail };
}

async function predict(name: string, data: Dataset, shares: readonly number[]): Promise<readonly Predicted[]> {
  const options: CompressOptions = {
    data,
    images: IMAGES,
    speed: 1,
    threads: 1,
    seconds: SECONDS,
    preprocess: PREPROCESS,
    onProgress: ({ phase, done, total }) => process.stderr.write(`\r${name} ${phase} ${done}/${total}\x1b[K`),
  };
  const prepared = await prepare(await readModelFile(sharedModel(`${name}.onnx`)), PREPROCESS);
  const settings = settingsOf(options);
  const images = chooseImages(prepared, settings);
  const answers = classScores(prepared.model);
  return withLinalg({}, async (la) => {
    const how = { methods: methodsNamed(undefined), metric: "kfac", session: {}, seed: 0 } as const;
    const { model, layers } = prepared;
    const scores = await scoreAll(la, model, layers, images.calibration, how, options);
    const score = () => Promise.reject(new Error("without tuning no layer is taken apart anew"));
    const work: Work = { la, prepared, images: { ...images, measured: null }, ...scores, score, answers, settings };
    const { pool, wholeMs } = await search(work);
    const plans = shares.flatMap((share) => choosePlan(pool, { ms: share * present(pool).ms }) ?? []);
    const found: Predicted[] = [];
    for (const plan of plans) found.push(await carriedOut(work, name, plan, wholeMs!, present(pool)));
    return found;
  });
}

async function carriedOut(
  work: Work,
  network: string,
  { plan, ms, macs }: Expected,
  whole: number,
  before: { ms: number; macs: number },
): Promise<Predicted> {
  const { measured } = await applyPlan(work, plan);
  const { medianMs, ratioToFirst } = measured.latency[1]!;
  const predicted = whole - before.ms + ms;
  return {
    network,
    msBefore: whole,
    msPredicted: predicted,
    msMeasured: medianMs,
    predicted: whole / predicted,
    measured: ratioToFirst.speedup,
    measuredCi95: ratioToFirst.ci95,
    fewer_macs: before.macs / macs,
  };
}
