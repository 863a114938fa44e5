// npm run -s bench -- backend-models [FOLDER]: inspects every .onnx file below a folder, such as ONNX's own backend tests, compresses those
// that have a layer to approximate by a plan of one layer, and counts what is refused and why. bench/backend-models.py writes that folder
// with the onnx package.

import { existsSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";
import type { Layer } from "../src/analyze/layers.ts";
import { METHODS } from "../src/approximate/methods.ts";
import { compress } from "../src/compress.ts";
import { readModelFile } from "../src/data/platform.node.ts";
import { LowrankError } from "../src/errors.ts";
import type { Model } from "../src/graph/model.ts";
import { prepare } from "../src/pipeline/prepare.ts";
import { inspect } from "../src/report/inspect.ts";
import { type Choice, formatPlan, NOTHING } from "../src/search/plan.ts";
import type { BenchResult } from "./result.ts";

const FOLDER = "/tmp/onnx-backend";

interface Refused {
  readonly file: string;
  readonly code: string;
  readonly reason: string;
}

export async function backendModels([folder = FOLDER]: readonly string[]): Promise<BenchResult> {
  if (!existsSync(folder)) {
    console.error(
      `${folder} is missing: write it with \`python3 bench/backend-models.py ${folder}\`, which needs onnx`,
    );
    process.exit(2);
  }
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".onnx"));
  const inspected = { refused: [] as Refused[] };
  const compressed = { models: 0, layers: 0, refused: [] as Refused[] };
  for (const path of files.sort()) {
    const file = relative(folder, join(folder, path));
    try {
      const model = await readModelFile(join(folder, path));
      await inspect(model, { bytes: 0 });
      const layers = await openLayers(model);
      if (layers.length === 0) continue;
      compressed.models++;
      process.stderr.write(`${file}: ${layers.length} layers\n`);
      for (const layer of chosen(layers)) {
        compressed.layers++;
        await byOneLayer(model, layer).catch((error) => {
          compressed.refused.push({ file: `${file} ${layer.name}`, ...told(error) });
        });
      }
    } catch (error) {
      inspected.refused.push({ file, ...told(error) });
    }
  }
  const ours = files.length - inspected.refused.length;
  return {
    ...{ name: "backend-models", unit: "models inspected", ours },
    ...{ peer: null, peer_name: null, peer_version: null, ratio: null },
    detail: { models: files.length, inspected, compressed },
  };
}

const told = (error: unknown) => ({
  code: error instanceof LowrankError ? error.code : "bug",
  reason: String((error as Error).message),
});

/** Layers that a method applies to; none where the model is not one to compress (quantised, without an input). */
async function openLayers(model: Model): Promise<readonly Layer[]> {
  try {
    const { layers } = await prepare(model, {}, undefined, {});
    return layers.filter((layer) => layer.refused === null && choiceOf(layer) !== null);
  } catch (error) {
    if (error instanceof LowrankError) return [];
    throw error;
  }
}

/** The first, the last and one in the middle. */
const chosen = (layers: readonly Layer[]): readonly Layer[] => [
  ...new Set([layers[0]!, layers[layers.length >> 1]!, layers.at(-1)!]),
];

/** A method that applies, at a rank in the middle of its own. */
function choiceOf(layer: Layer): Choice | null {
  for (const method of METHODS) {
    if (method.refuses(layer) !== null || method.iterative === true) continue;
    const ranks = method.ranks(layer);
    const rank = ranks[ranks.length >> 1];
    if (rank !== undefined && method.invalid(layer, rank) === null) return { method: method.name, rank };
  }
  return null;
}

/** The file that comes out has been written, read back and run against the original when this ends. */
async function byOneLayer(model: Model, layer: Layer): Promise<void> {
  await compress(model, {
    plan: formatPlan({ ...NOTHING, layers: new Map([[layer.name, choiceOf(layer)!]]) }),
    seconds: 0.1,
  });
}
