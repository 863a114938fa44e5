// lowrank's side of the benchmark `factor`, in a process of its own: `layers FOLDER` factors the layers that it is asked for,
// `svd FOLDER SPECTRUM [exact]` takes the truncated SVD of fc6.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { findLayers, type Layer, weightMatrix } from "../src/analyze/layers.ts";
import type { Method, Stage } from "../src/approximate/method.ts";
import { methodsNamed } from "../src/approximate/methods.ts";
import { int, ints, model, node, valueInfo } from "../src/graph/build.ts";
import { inferShapes } from "../src/graph/shapes.ts";
import { floatTensor } from "../src/graph/tensor.ts";
import { symmetricEigen } from "../src/linalg/eigen.ts";
import { type AnyMatrix, rowsOf, scaleColumns } from "../src/linalg/matrix.ts";
import { gram, type Linalg, matmul, withLinalg } from "../src/linalg/products.ts";
import { svd } from "../src/linalg/svd.ts";
import { frobenius } from "../src/metric/metric.ts";
import type { Case } from "./factor.ts";

const say = (answer: object) => console.log(JSON.stringify(answer));

/** The most memory that this process has ever held, in bytes. */
const peakBytes = () => process.resourceUsage().maxRSS * 1024;

function readWeight(folder: string, name: string): Float32Array<ArrayBuffer> {
  const bytes = readFileSync(join(folder, `${name}.f32`));
  if (bytes.byteOffset % 4 !== 0) throw new Error(`${name}.f32 was read to an address that is no multiple of 4`);
  return new Float32Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength / 4);
}

/** The layers as lowrank sees them: each by itself in one graph, convolutions on 14 x 14 pixels. */
function layersOf(folder: string, cases: readonly Case[]): ReadonlyMap<string, Layer> {
  const isConv = ({ dims }: Case) => dims[2] > 1;
  const network = model({
    inputs: cases.map((one) =>
      valueInfo(`${one.name}_x`, "float32", [1, one.dims[1], ...(isConv(one) ? [14, 14] : [])]),
    ),
    outputs: cases.map((one) => valueInfo(one.name, "float32", null)),
    nodes: cases.map((one) =>
      isConv(one)
        ? node("Conv", [`${one.name}_x`, `${one.name}_w`], [one.name], { pads: ints([1, 1, 1, 1]) })
        : node("Gemm", [`${one.name}_x`, `${one.name}_w`], [one.name], { transB: int(1) }),
    ),
    initializers: cases.map((one) => {
      const dims = isConv(one) ? one.dims : one.dims.slice(0, 2);
      return floatTensor(`${one.name}_w`, dims, readWeight(folder, one.name));
    }),
  });
  return new Map(findLayers(network, inferShapes(network)).map((layer) => [layer.name, layer]));
}

async function factorLayers(la: Linalg, folder: string): Promise<void> {
  const cases: readonly Case[] = JSON.parse(readFileSync(join(folder, "cases.json"), "utf8"));
  const layers = layersOf(folder, cases);
  const factored = new Map<string, readonly Stage[]>();
  for await (const name of createInterface({ input: process.stdin })) {
    const layer = layers.get(name)!;
    const { rank } = cases.find((one) => one.name === name)!;
    const [method] = methodsNamed([layer.op === "Conv" ? "channel" : "svd"]) as [Method];
    const start = performance.now();
    const decomposition = await method.decompose(la, layer, weightMatrix(layer), frobenius, {
      ranks: [[rank]],
      seed: 0,
    });
    factored.set(name, (await decomposition.cut([rank])).stages);
    say({ seconds: (performance.now() - start) / 1000 });
  }
  const peak = peakBytes();
  const errors: Record<string, number> = {};
  for (const [name, stages] of factored) errors[name] = await stageError(la, layers.get(name)!, stages);
  say({ version: process.version, peak_bytes: peak, errors });
}

/** Of the factors as they are, float32: the second stage times the first in place of the weight. */
function stageError(la: Linalg, layer: Layer, [first, second]: readonly Stage[]): Promise<number> {
  const { F, C, X, Y } = layer.shape;
  const [rank] = first!.dims;
  const left = { rows: F, cols: rank, data: second!.weight };
  const right = { rows: rank, cols: C * X * Y, data: first!.weight };
  return relativeError(la, { rows: F, cols: C * X * Y, data: weightMatrix(layer) }, left, right, false);
}

/** ||W - L R||_F / ||W||_F, R transposed or not, a block of rows at a time. */
async function relativeError(la: Linalg, w: AnyMatrix, left: AnyMatrix, right: AnyMatrix, transB: boolean) {
  let [square, all] = [0, 0];
  for (let from = 0; from < w.rows; from += 256) {
    const to = Math.min(w.rows, from + 256);
    const { data } = await matmul(la, rowsOf(left, from, to), right, { transB });
    const block = rowsOf(w, from, to).data;
    for (let i = 0; i < data.length; i++) {
      square += (block[i]! - data[i]!) ** 2;
      all += block[i]! ** 2;
    }
  }
  return Math.sqrt(square / all);
}

const SVD_RANK = 512;

async function truncatedSvd(la: Linalg, folder: string, falling: boolean, exact: boolean): Promise<void> {
  const [rows, cols] = [4096, 25088];
  const data = readWeight(folder, "fc6");
  // Row i times 1 / sqrt(i + 1): the spectrum falls about as fast.
  if (falling) for (let i = 0; i < data.length; i++) data[i]! /= Math.sqrt(Math.floor(i / cols) + 1);
  const w = { rows, cols, data };
  const start = performance.now();
  const { u, s, v } = await svd(la, w, { rank: SVD_RANK });
  const seconds = (performance.now() - start) / 1000;
  const peak = peakBytes();
  const error = await relativeError(la, w, scaleColumns(u, s), v, true);
  const least = exact ? await leastError(la, w) : null;
  say({ seconds, matrix_bytes: data.byteLength, peak_bytes: peak, error, excess_error: least && error / least - 1 });
}

/** From all eigenvalues of the Gram matrix. */
async function leastError(la: Linalg, w: AnyMatrix): Promise<number> {
  const { values } = await symmetricEigen(la, await gram(la, w, "rows"), 0);
  const sum = (part: Float64Array) => part.reduce((x, y) => x + y, 0);
  return Math.sqrt(sum(values.subarray(SVD_RANK)) / sum(values));
}

const [task, folder = "", spectrum, exact] = process.argv.slice(2);
await withLinalg({}, (la) =>
  task === "svd" ? truncatedSvd(la, folder, spectrum === "falling", exact === "exact") : factorLayers(la, folder),
);
