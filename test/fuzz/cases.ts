// Files for fuzzing, each from a seed: a sound file of one of the forms that lowrank reads, damaged in its bytes or its fields; and what
// must come of it: it is read, or refused by an error for users.

import { clone, create, toBinary } from "@bufbuild/protobuf";
import { zipSync } from "fflate";
import { ModelProtoSchema } from "onnx-buf";
import { arraysFromIdx, datasetFromNumpy } from "../../src/data/npy.ts";
import { decodeRaster, isRaster } from "../../src/data/raster.ts";
import { LowrankError } from "../../src/errors.ts";
import { decodeModel } from "../../src/onnx/decode.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import { inspect } from "../../src/report/inspect.ts";
import { NETWORKS } from "../graph/networks.ts";
import { type Bytes, type ModelProto, parse, richModel, serialise, smallNetwork } from "../onnx/samples.ts";
import { ANSWER_NETS } from "../support/answer-nets.ts";
import { MUTATIONS, mutate, random } from "../support/mutate.ts";
import { mutateFields } from "../support/mutate-fields.ts";
import { npy } from "../support/npy.ts";
import { bmp, P6 } from "../support/rasters.ts";

/** What is told of an error is for reading. */
const LONGEST_MESSAGE = 2000;

/** Larger files take too long each, and hold nothing but weights. */
const LARGEST = 2 ** 17;

const models = (): readonly Bytes[] =>
  [
    serialise(smallNetwork()),
    serialise(richModel()),
    ...Object.values(NETWORKS).map(({ model }) => encodeModel(model)),
    ...Object.values(ANSWER_NETS).map(({ build }) => encodeModel(build())),
  ].filter(({ length }) => length <= LARGEST);

type Read = (bytes: Bytes) => Promise<unknown>;

interface Form {
  readonly extension: string;
  readonly files: readonly Bytes[];
  readonly read: Read;
}

async function readsModel(bytes: Bytes): Promise<void> {
  const model = await decodeModel(bytes);
  await decodeModel(encodeModel(model));
  await inspect(model);
}

/** What does not begin like one of these goes to sharp. */
async function readsRaster(bytes: Bytes): Promise<void> {
  if (isRaster(bytes)) decodeRaster(bytes, 2 ** 24);
}

const body = (length: number, seed: number): Uint8Array => {
  const next = random(seed);
  return Uint8Array.from({ length }, () => Math.floor(next() * 256));
};

function idx(dims: readonly number[], data: Uint8Array): Bytes {
  const header = new DataView(new ArrayBuffer(4 + 4 * dims.length));
  header.setUint32(0, 0x0800 + dims.length);
  for (const [i, dim] of dims.entries()) header.setUint32(4 + 4 * i, dim);
  return new Uint8Array([...new Uint8Array(header.buffer), ...data]);
}

function forms(): readonly Form[] {
  const arrays = [
    npy("|u1", [6, 4, 4, 3], body(288, 1)),
    npy("<f4", [6, 3, 4, 4], new Uint8Array(Float32Array.from({ length: 288 }, (_, i) => i / 7).buffer)),
    npy("<i8", [6], new Uint8Array(BigInt64Array.from([0n, 1n, 2n, 0n, 1n, 2n]).buffer)),
  ];
  const zipped = zipSync({ "x.npy": arrays[0]!, "y.npy": arrays[2]! }) as Bytes;
  return [
    { extension: "onnx", files: models(), read: readsModel },
    {
      extension: "npy",
      files: arrays.map((each) => new Uint8Array(each)),
      read: async (bytes) => datasetFromNumpy(bytes, "a.npy"),
    },
    {
      extension: "npz",
      files: [zipped],
      read: async (bytes) => datasetFromNumpy(bytes, "a.npz"),
    },
    {
      extension: "idx3-ubyte",
      files: [idx([6, 4, 4], body(96, 4))],
      read: async (bytes) => arraysFromIdx(bytes, undefined, "a.idx"),
    },
    { extension: "bmp", files: [bmp(24, false), bmp(8, true)].map((each) => new Uint8Array(each)), read: readsRaster },
    { extension: "ppm", files: [P6], read: readsRaster },
  ];
}

export interface Case {
  readonly extension: string;
  readonly bytes: Bytes;
  /** Resolves where the file is read or refused as it should be. */
  readonly check: () => Promise<void>;
}

/** A maker of cases: the same for the same seed. Of four cases three are models. */
export function casesOf(): (seed: number) => Case {
  const [model, ...others] = forms();
  const messages = model!.files.map((bytes) => parse(bytes));
  return (seed) => {
    const next = random(seed);
    const below = (bound: number) => Math.floor(next() * bound);
    const form = below(4) === 0 ? others[below(others.length)]! : model!;
    const at = below(form.files.length);
    let bytes = form.files[at]!;
    if (form === model && below(3) > 0) bytes = withOtherFields(messages[at]!, seed) ?? bytes;
    else
      for (let i = 0; i < 1 + below(2) && bytes.length > 0; i++)
        bytes = mutate(bytes, MUTATIONS[below(MUTATIONS.length)]!, seed + i);
    return { extension: form.extension, bytes, check: () => readsOrRefuses(form.read, bytes) };
  };
}

/** Null where the fields hold what no file can. */
function withOtherFields(message: ModelProto, seed: number): Bytes | null {
  try {
    const changed = mutateFields(message, (one) => clone(ModelProtoSchema, one), seed);
    return toBinary(ModelProtoSchema, create(ModelProtoSchema, changed)) as Bytes;
  } catch {
    return null;
  }
}

async function readsOrRefuses(read: Read, bytes: Bytes): Promise<void> {
  try {
    await read(bytes);
  } catch (error) {
    if (!(error instanceof LowrankError) || error.code === "interrupted") throw error;
    if (error.message.length > LONGEST_MESSAGE) throw new Error(`a message of ${error.message.length} characters`);
  }
}
