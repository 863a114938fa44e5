// Statistics of a layer as bytes and back, to the last bit: arrays as the constants of an ONNX model, so that the code which reads
// and writes models does so here too.

import type { LayerStatistics } from "../analyze/statistics.ts";
import { carrier } from "../graph/build.ts";
import type { Model, Tensor } from "../graph/model.ts";
import { floats, integers, intTensor } from "../graph/tensor.ts";
import { type Matrix, matrix } from "../linalg/matrix.ts";
import { decodeModel } from "../onnx/decode.ts";
import { type Bytes, encodeChunks } from "../onnx/encode.ts";
import type { LayerGradients } from "./gradients.ts";

type Numbers = Float32Array | Float64Array;

/** How something is written, in pieces, and read again; null where the bytes are damaged. */
export interface Coding<T> {
  readonly encode: (value: T) => readonly Bytes[];
  readonly decode: (bytes: Bytes) => Promise<T | null>;
}

export const STATISTICS: Coding<LayerStatistics> = coding(
  ({ patches, outputs, samples, inputVariance, inputMean }) =>
    carrier(
      [
        ...array("patches", patches?.data),
        ...array("outputs", outputs?.data),
        ...array("mean", inputMean),
        ...array("numbers", Float64Array.of(samples, inputVariance)),
      ],
      {},
    ),
  ({ graph }) => {
    const [samples, inputVariance] = doubles(graph.initializers.get("numbers")!);
    return {
      patches: square(graph.initializers.get("patches")),
      outputs: square(graph.initializers.get("outputs")),
      samples: samples!,
      inputVariance: inputVariance!,
      inputMean: doubles(graph.initializers.get("mean")!),
    };
  },
);

const BLOCKED = "blocked";

export const GRADIENTS: Coding<LayerGradients> = coding(
  ({ alpha, outputs, diagonal, count, importance, blocked }) =>
    carrier(
      [
        ...array("alpha", alpha ?? undefined),
        ...array("outputs", outputs?.data),
        ...array("diagonal", diagonal ?? undefined),
        ...array("numbers", Float64Array.of(count, importance?.mean ?? 0)),
        ...(importance === null ? [] : [intTensor("images", [...importance.maps.keys()])]),
        ...Array.from(importance?.maps ?? [], ([image, map]) => array(`map ${image}`, map)).flat(),
      ],
      blocked === null ? {} : { [BLOCKED]: blocked },
    ),
  ({ graph: { initializers }, metadata }) => {
    const [alpha, diagonal, images] = ["alpha", "diagonal", "images"].map((name) => initializers.get(name));
    const [count, mean] = doubles(initializers.get("numbers")!);
    const maps =
      images && new Map(integers(images).map((image) => [image, singles(initializers.get(`map ${image}`)!)]));
    return {
      alpha: alpha === undefined ? null : singles(alpha),
      outputs: square(initializers.get("outputs")),
      diagonal: diagonal === undefined ? null : doubles(diagonal),
      count: count!,
      importance: maps === undefined ? null : { maps, mean: mean! },
      blocked: metadata.get(BLOCKED) ?? null,
    };
  },
);

function coding<T>(modelOf: (value: T) => Model, valueIn: (model: Model) => T): Coding<T> {
  return {
    encode: (value) => encodeChunks(modelOf(value)),
    decode: async (bytes) => {
      try {
        return valueIn(await decodeModel(bytes));
      } catch {
        return null;
      }
    },
  };
}

/** No tensor where there are no numbers. */
function array(name: string, data: Numbers | undefined): Tensor[] {
  if (data === undefined) return [];
  const type = data instanceof Float64Array ? "float64" : "float32";
  const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
  return [{ name, type, dims: [data.length], bytes }];
}

const doubles = (tensor: Tensor): Float64Array<ArrayBuffer> => floats(tensor) as Float64Array<ArrayBuffer>;
const singles = (tensor: Tensor): Float32Array<ArrayBuffer> => floats(tensor) as Float32Array<ArrayBuffer>;

function square(tensor: Tensor | undefined): Matrix | null {
  if (tensor === undefined) return null;
  const data = doubles(tensor);
  const n = Math.sqrt(data.length);
  return matrix(n, n, data);
}
