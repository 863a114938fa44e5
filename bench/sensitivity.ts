// How well sensitivities are read off: the search measures each method's sensitivity at four of its ranks and reads the others off by their error.
// Here all promising candidates of the shared CIFAR-10 networks are measured, and what was read off is held against it. Beside it, what
// is told where runs are too many for that, all methods of a layer being read off together, and what the metric alone would tell: the
// squared error, times the one factor that fits all candidates of a network best.

import { join } from "node:path";
import { classScores } from "../src/answers/class-scores.ts";
import { methodsNamed } from "../src/approximate/methods.ts";
import type { Dataset } from "../src/data/dataset.ts";
import { openDataset, readModelFile } from "../src/index.ts";
import { withLinalg } from "../src/linalg/products.ts";
import { median, quantile } from "../src/measure/statistics.ts";
import { chooseImages } from "../src/pipeline/images.ts";
import { prepare } from "../src/pipeline/prepare.ts";
import type { Candidate } from "../src/search/candidates.ts";
import { type ScoredLayer, scoreLayers } from "../src/search/score.ts";
import { measureSensitivities, type Sensitivities } from "../src/search/sensitivity.ts";
import { promising } from "../src/search/times.ts";
import { settingsOf } from "../src/settings/settings.ts";
import type { BenchResult } from "./result.ts";
import { cifar10, PREPROCESS, sharedModel, unlabelled } from "./shared.ts";

const NETWORKS = ["resnet20-cifar10", "paper-cifar10"];
const IMAGES = 512;

/** So many of a method's candidates at once are all measured. */
const MEASURED = 4;

export async function sensitivityBench(): Promise<BenchResult> {
  const train = unlabelled(await openDataset(join(cifar10(), "train")));
  const detail = [];
  const [read, told]: [number[], number[]] = [[], []];
  for (const name of NETWORKS) {
    const { all, ...found } = await compareSensitivities(name, train);
    read.push(...all.map(({ readOff }) => readOff));
    told.push(...all.map(({ byError }) => byError));
    detail.push({ network: name, ...found });
  }
  process.stderr.write("\r\x1b[K");
  const [ours, peer] = [median(read), median(told)];
  const unit = "factor between a sensitivity as told and as measured, median";
  const sides = { ours, peer, peer_name: "the metric's squared error", peer_version: null, ratio: peer / ours };
  return { name: "sensitivity", unit, ...sides, detail };
}

async function compareSensitivities(name: string, data: Dataset) {
  const tell = (what: string) => process.stderr.write(`\r${name}: ${what}\x1b[K`);
  const options = { data, images: IMAGES, macs: 1, preprocess: PREPROCESS };
  const prepared = await prepare(await readModelFile(sharedModel(`${name}.onnx`)), PREPROCESS);
  const { calibration } = await chooseImages(prepared, settingsOf(options));
  return withLinalg({}, async (la) => {
    const how = { methods: methodsNamed(undefined), metric: "kfac", session: {}, seed: 0 } as const;
    const answers = classScores(prepared.model);
    tell("factoring");
    const scored = await scoreLayers(la, prepared.model, prepared.layers, calibration, how, {});
    const wanted = new Set(scored.flatMap((one) => one.candidates.filter(promising(one))));
    const measure = (some: ReadonlySet<Candidate>, mostMacs?: number) =>
      measureSensitivities(
        prepared.model,
        scored,
        (candidate) => some.has(candidate),
        calibration!,
        answers,
        mostMacs === undefined ? {} : { mostMacs },
        {},
      );
    tell("reading sensitivities off");
    const start = performance.now();
    const readOff = await measure(wanted);
    const seconds = (performance.now() - start) / 1000;
    const together = await measure(wanted, 0);
    const secondsTogether = (performance.now() - start) / 1000 - seconds;
    const measured = new Map<Candidate, number>();
    for (const part of inParts(scored, wanted)) {
      tell(`measuring sensitivities, ${measured.size} of ${wanted.size}`);
      for (const [candidate, sensitivity] of await measure(part)) measured.set(candidate, sensitivity);
    }
    const secondsForAll = (performance.now() - start) / 1000 - seconds - secondsTogether;
    const took = { seconds, seconds_together: secondsTogether, seconds_for_all: secondsForAll };
    return { ...compared([...wanted], readOff, together, measured), ...took };
  });
}

/** Sets of candidates with no more of a layer's method than are all measured. */
function inParts(scored: readonly ScoredLayer[], wanted: ReadonlySet<Candidate>): readonly ReadonlySet<Candidate>[] {
  const parts: Set<Candidate>[] = [];
  for (const { candidates } of scored) {
    const before = new Map<string, number>();
    for (const candidate of candidates) {
      if (!wanted.has(candidate)) continue;
      const place = before.get(candidate.method) ?? 0;
      before.set(candidate.method, place + 1);
      const part = Math.floor(place / MEASURED);
      parts[part] ??= new Set();
      parts[part].add(candidate);
    }
  }
  return parts;
}

/** Sensitivities below this are noise. */
const LEAST = 1e-5;

function compared(
  candidates: readonly Candidate[],
  readOff: Sensitivities,
  together: Sensitivities,
  measured: Sensitivities,
) {
  const open = candidates.filter((each) => measured.get(each)! > LEAST && each.error > 0);
  const scale = median(open.map((each) => measured.get(each)! / each.error ** 2));
  const factor = (told: number, sensitivity: number) => Math.exp(Math.abs(Math.log(told / sensitivity)));
  const factors = open.map((each) => ({
    readOff: factor(readOff.get(each)!, measured.get(each)!),
    together: factor(together.get(each)!, measured.get(each)!),
    byError: factor(scale * each.error ** 2, measured.get(each)!),
  }));
  // What was measured in the first place is not read off.
  const all = factors.filter((one) => one.readOff > 1 + 1e-9);
  const spread = (of: (one: (typeof all)[number]) => number) => ({
    median: median(all.map(of)),
    p90: quantile(all.map(of), 0.9),
  });
  return {
    ...{ all, candidates: open.length, read: all.length },
    read_off: spread(({ readOff }) => readOff),
    read_off_together: spread((one) => one.together),
    by_error: spread(({ byError }) => byError),
  };
}
