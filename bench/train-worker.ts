// lowrank's side of the benchmark `train`, in a process of its own: two training steps for each line that it is sent.

import { createInterface } from "node:readline";
import { targetsOf } from "../src/finetune/loss.ts";
import { ratesAt, SGD } from "../src/finetune/optimiser.ts";
import { trainingStep } from "../src/finetune/step.ts";
import { trainableWeights } from "../src/finetune/trainable.ts";
import { elementCount, floats } from "../src/graph/tensor.ts";
import { readModelFile } from "../src/index.ts";
import { float32, type NdArray, withSession } from "../src/runtime/session.ts";

const RATE = 1e-5;
const CLASSES = 10;
const [file = "", batch = "64", threads = "2"] = process.argv.slice(2);
const N = Number(batch);

/** The same pseudo-random images as the peer's: exact in both languages. */
const images = Float32Array.from({ length: N * 3 * 1024 }, (_, i) => ((i * 7919) % 1009) / 504.5 - 1);
const labels = Int32Array.from({ length: N }, (_, i) => i % CLASSES);

const source = await readModelFile(file);
const weights = trainableWeights(source);
const step = trainingStep(source, {
  loss: { kind: "cross-entropy" },
  optimiser: SGD,
  weights,
  inputShapes: { image: [N, 3, 32, 32] },
});
const states = [...step.weights.values(), ...step.moments];
const feeds: Record<string, NdArray> = {
  image: float32([N, 3, 32, 32], images),
  [step.target]: float32([N, CLASSES], targetsOf(labels, CLASSES)),
};
for (const [key, value] of Object.entries(ratesAt(SGD, RATE, 1))) {
  feeds[step.rates[key as keyof typeof step.rates]] = float32([], Float32Array.of(value));
}
for (const { input, dims } of step.moments) feeds[input] = float32(dims, new Float32Array(elementCount(dims)));
for (const [name, { input, dims }] of step.weights) {
  feeds[input] = float32(dims, floats(source.graph.initializers.get(name)!) as Float32Array);
}

await withSession(step.model, { threads: Number(threads), memoryPattern: false, spinning: true }, async (session) => {
  const take = async () => {
    const start = performance.now();
    const out = await session.run(feeds);
    for (const { input, output, dims } of states) feeds[input] = float32(dims, out[output]!.data as Float32Array);
    return { seconds: (performance.now() - start) / 1000, loss: out[step.loss]!.data[0] };
  };
  for await (const _ of createInterface({ input: process.stdin })) {
    await take();
    console.log(JSON.stringify(await take()));
  }
});
console.log(JSON.stringify({ version: process.version, peak_bytes: process.resourceUsage().maxRSS * 1024 }));
