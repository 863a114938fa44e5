// npm run -s bench -- NAME: runs one benchmark and prints one JSON object; without a name, lists them.

import { snakeCased } from "../src/report/json.ts";
import { answersBench } from "./answers.ts";
import { backendModels } from "./backend-models.ts";
import { compressBench } from "./compress.ts";
import { factor } from "./factor.ts";
import { firstLayerBench } from "./first-layer.ts";
import { formsBench } from "./forms.ts";
import { predictBench } from "./predict.ts";
import type { BenchResult } from "./result.ts";
import { searchBench } from "./search.ts";
import { sensitivityBench } from "./sensitivity.ts";
import { trainBench } from "./train.ts";
import { weightGradientBench } from "./weight-gradient.ts";

const BENCHMARKS: Readonly<Record<string, { about: string; run: (args: readonly string[]) => Promise<BenchResult> }>> =
  {
    factor: {
      about: "time and memory to factor every layer of a VGG-16-shaped network, against NumPy's SVD",
      run: factor,
    },
    compress: {
      about: "drop and speed-up, and against other methods at equal speed, on the shared networks (needs ../shared)",
      run: compressBench,
    },
    answers: {
      about: "answers kept on unseen inputs, for networks of every kind (needs ../shared; --yolo FILE adds a detector)",
      run: answersBench,
    },
    search: { about: "seconds and memory of whole searches (needs ../shared; --yolo FILE)", run: searchBench },
    predict: { about: "a plan's time predicted against measured (needs ../shared)", run: predictBench },
    sensitivity: {
      about: "sensitivities read off between ranks against all of them measured (needs ../shared)",
      run: sensitivityBench,
    },
    "weight-gradient": { about: "ways to the weight gradient of a convolution, in turn", run: weightGradientBench },
    "first-layer": {
      about: "the lowerings of a monochromatic first layer, against the original",
      run: firstLayerBench,
    },
    forms: { about: "equal ONNX forms of factors, in turn", run: formsBench },
    "backend-models": {
      about:
        "how many of ONNX's backend test models can be inspected, and compressed by plans of one layer (needs the folder that bench/backend-models.py writes)",
      run: backendModels,
    },
    train: { about: "images a second of a training step, against PyTorch (needs ../shared)", run: trainBench },
  };

const [name = "", ...args] = process.argv.slice(2);
const benchmark = BENCHMARKS[name];
if (benchmark === undefined) {
  for (const [key, { about }] of Object.entries(BENCHMARKS)) console.error(`${key.padEnd(16)} ${about}`);
  process.exitCode = name === "" ? 0 : 2;
} else {
  console.log(JSON.stringify(snakeCased(await benchmark.run(args)), null, 2));
}
