// What compression without labels and without fine-tuning costs and gains: paper-cifar10 at half the MACs and
// resnet20-cifar10 at 0.8 of them, from 512 training images whose labels
// are not looked at; the drop on the whole test folder, the speed-up
// at batch 1 on one thread, original and compressed in turn.

import { join } from "node:path";
import { resolveInput } from "../src/analyze/input.ts";
import { compareLatency, compress, evaluate, openDataset, readModelFile } from "../src/index.ts";
import type { BenchResult } from "./result.ts";
import { cifar10, sharedModel } from "./shared.ts";

const CASES = [
  { file: "paper-cifar10.onnx", macs: 0.5 },
  { file: "resnet20-cifar10.onnx", macs: 0.8 },
] as const;

const PREPROCESS = { preset: "imagenet", size: "32" };

/** Arguments: file=ratio pairs in place of the standing cases, e.g. resnet20-cifar10.onnx=0.7. */
export async function compressBench(args: readonly string[]): Promise<BenchResult> {
  const cases = args.length === 0 ? CASES : args.map(parseCase);
  const folder = cifar10();
  const train = await openDataset(join(folder, "train"));
  const test = await openDataset(join(folder, "test"));
  const detail = [];
  for (const { file, macs } of cases) {
    const source = await readModelFile(sharedModel(file));
    const start = performance.now();
    const { model, report, plan } = await compress(source, {
      data: train,
      images: 512,
      macs,
      threads: 1,
      preprocess: PREPROCESS,
      onProgress: ({ phase, done, total }) => process.stderr.write(`\r${file} ${phase} ${done}/${total}\x1b[K`),
    });
    const seconds = (performance.now() - start) / 1000;
    const models = [source, model].map((each, i) => ({ name: i === 0 ? "original" : "compressed", model: each }));
    const [, one] = await compareLatency(models, { batch: 1, threads: 1, seconds: 8 });
    const [, many] = await compareLatency(models, { batch: 32, threads: 1, seconds: 8 });
    const { preprocess } = resolveInput(source, PREPROCESS);
    const evaluation = await evaluate([source, model], test, preprocess!, { batch: 50 });
    const [before, after] = evaluation.models;
    process.stderr.write("\r\x1b[K");
    detail.push({
      file,
      macs_asked: macs,
      macs: report.macs.after / report.macs.before,
      params: report.params.after / report.params.before,
      test_images: evaluation.n,
      top1_before: before!.top1,
      top1_after: after!.top1,
      drop: after!.versus_first!.drop,
      drop_ci95: after!.versus_first!.drop_ci95,
      speedup_batch1: one!.ratio_to_first,
      speedup_batch32: many!.ratio_to_first,
      seconds,
      plan: Object.fromEntries(plan),
    });
  }
  const speedup = Math.min(...detail.map((each) => each.speedup_batch1.speedup));
  return { name: "compress", unit: "times faster, least of the cases", ours: speedup, ...noPeer, detail };
}

const noPeer = { peer: null, peer_name: null, peer_version: null, ratio: null };

function parseCase(text: string): { file: string; macs: number } {
  const [file = "", macs] = text.split("=");
  return { file, macs: Number(macs) };
}
