import fc from "fast-check";
import { AttributeProto_AttributeType as Attr, TensorProto_DataType as Type } from "onnx-buf";
import { describe, expect, test } from "vitest";
import { LowrankError } from "../../src/errors.ts";
import * as build from "../../src/graph/build.ts";
import { decodeModel } from "../../src/onnx/decode.ts";
import { validated } from "../../src/onnx/validate.ts";
import {
  type Bytes,
  floatTensor,
  type GraphInit,
  type ModelInit,
  model,
  node,
  serialise,
  smallNetwork,
  subgraph,
  type TensorInit,
  text,
  value,
} from "./samples.ts";

async function refusal(bytes: Bytes): Promise<LowrankError> {
  const error = await decodeModel(bytes, { file: "net.onnx" }).then(
    () => null,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(LowrankError);
  return error as LowrankError;
}

const input = [value("x", [1])];
const relu = (from: string, to: string) => node("Relu", [from], [to]);
const tensorModel = (tensor: TensorInit) => model({ initializer: [{ ...tensor, name: "w" }] });
const inBranch = (graph: GraphInit) =>
  model({ input, node: [node("If", ["x"], ["y"], [subgraph("then_branch", graph)])] });

/** What is wrong, the file, and what the message must say. */
const REFUSED: readonly [string, ModelInit, RegExp][] = [
  ["no graph", { irVersion: 8n, opsetImport: [{ version: 17n }] }, /holds no graph/],
  ["no IR version", { ...smallNetwork(), irVersion: 0n }, /no usable IR version/],
  ["no operator sets", { ...smallNetwork(), opsetImport: [] }, /imports no operator set/],
  [
    "no standard operator set",
    { ...smallNetwork(), opsetImport: [{ domain: "com.example", version: 1n }] },
    /Conv node "conv_c1" is a standard operator/,
  ],
  ["operator set 0", { ...smallNetwork(), opsetImport: [{ domain: "", version: 0n }] }, /version 0 of operator set ""/],
  ["a dangling input", model({ input, node: [relu("z", "y")] }), /Relu node "relu_y" reads "z", which no node/],
  ["a dangling output", model({ input, output: [value("z", [1])] }), /graph output "z" is produced by no/],
  ["a value defined twice", model({ input, node: [relu("x", "y"), relu("x", "y")] }), /defines "y", which Relu node/],
  ["a node that defines an input", model({ input, node: [relu("x", "x")] }), /defines "x", which an input/],
  ["an output named twice", model({ input, node: [node("Split", ["x"], ["y", "y"])] }), /defines "y"/],
  ["an input named twice", model({ input: [...input, ...input] }), /graph input "x" is defined twice/],
  ["an input without a name", model({ input: [{}] }), /input 0 of the graph has no name/],
  [
    "two initialisers of a name",
    model({ initializer: [floatTensor("w", [1]), floatTensor("w", [1])] }),
    /"w" is defined/,
  ],
  [
    "a dense and a sparse initialiser of a name",
    model({ initializer: [floatTensor("w", [1])], sparseInitializer: [{ values: floatTensor("w", [1]) }] }),
    /initialiser "w" is defined twice/,
  ],
  ["an initialiser without a name", model({ initializer: [floatTensor("", [1])] }), /initialiser 0 has no name/],
  ["a node without operator", model({ input, node: [node("", ["x"], ["y"])] }), /nameless node "_y" has no operator/],
  ["a cycle", model({ input, node: [relu("b", "a"), relu("a", "b")] }), /has a cycle.*"relu_.".*"relu_."/],
  ["a node that reads itself", model({ node: [relu("a", "a")] }), /has a cycle.*"relu_a"/],
  [
    "two attributes of a name",
    model({ input, node: [node("A", ["x"], [], [{ name: "a" }, { name: "a" }])] }),
    /two attr/,
  ],
  [
    "too few bytes",
    tensorModel({ ...floatTensor("", [3]), dims: [4n] }),
    /"w" has 12 bytes of data; float32 \[4\] takes 16/,
  ],
  ["too many bytes", tensorModel({ ...floatTensor("", [3]), dims: [2n] }), /12 bytes of data; float32 \[2\] takes 8/],
  ["no data", tensorModel({ dataType: Type.FLOAT, dims: [2n, 2n] }), /"w", float32 \[2,2\], has no data/],
  [
    "too few entries",
    tensorModel({ dataType: Type.INT64, dims: [2n], int64Data: [1n] }),
    /1 entries in int64Data; int64 \[2\] takes 2/,
  ],
  ["too few 4-bit pairs", tensorModel({ dataType: Type.INT4, dims: [3n], int32Data: [1] }), /1 entries.*takes 2/],
  [
    "the wrong field",
    tensorModel({ dataType: Type.FLOAT, dims: [1n], int32Data: [1] }),
    /float32 but has its data in int32Data/,
  ],
  [
    "raw strings",
    tensorModel({ dataType: Type.STRING, dims: [1n], rawData: text("a") }),
    /string but has its data in rawData; expected stringData$/,
  ],
  ["two fields", tensorModel({ ...floatTensor("", [1]), floatData: [1] }), /data in floatData and rawData/],
  ["a negative size", tensorModel({ dataType: Type.FLOAT, dims: [2n, -1n] }), /negative size -1 on axis 1/],
  ["an impossible size", tensorModel({ dataType: Type.FLOAT, dims: [2n ** 60n] }), /impossible size/],
  ["an impossible shape", tensorModel({ dataType: Type.FLOAT, dims: [10n ** 9n, 10n ** 9n] }), /impossible shape/],
  [
    "an endless shape",
    tensorModel({
      dataType: Type.FLOAT,
      dims: Array(99)
        .fill(2n ** 50n)
        .concat(0n),
    }),
    /impossible shape/,
  ],
  [
    "a large shape",
    tensorModel({ dataType: Type.FLOAT, dims: [10n ** 6n, 10n ** 6n], rawData: new Uint8Array(4) }),
    /takes 4000000000000/,
  ],
  ["no data type", tensorModel({ dims: [0n] }), /unknown data type 0/],
  ["an unknown data type", tensorModel({ dataType: 99, dims: [0n] }), /unknown data type 99/],
  [
    "an unknown type of a value",
    model({ input: [value("x", [1], 99 as Type)] }),
    /value "x" has the unknown data type 99/,
  ],
  [
    "a bad tensor in an attribute",
    model({
      node: [node("Constant", [], ["c"], [{ name: "value", type: Attr.TENSOR, t: { dataType: 1, dims: [1n] } }])],
    }),
    /attribute "value" of Constant node "constant_c", float32 \[1\], has no data/,
  ],
  [
    "a dangling name in a subgraph",
    inBranch({ node: [relu("z", "b")], output: [{ name: "b" }] }),
    /Relu node "relu_b" reads "z"/,
  ],
  ["a dangling output of a subgraph", inBranch({ output: [{ name: "b" }] }), /"b" is produced by no|reads "b"/],
  ["a subgraph that reads its own node", inBranch({ node: [relu("y", "b")] }), /has a cycle.*If node "if_y"/],
  ["a cycle in a subgraph", inBranch({ node: [relu("b", "a"), relu("a", "b")] }), /has a cycle/],
];

describe("a file that contradicts itself is refused with one clear message", () => {
  test.each(REFUSED)("%s", async (_, message, expected) => {
    const error = await refusal(serialise(message));
    expect(error.message).toMatch(expected);
    expect(error.message).toMatch(/^net\.onnx: /);
    expect(error).toMatchObject({ code: "bad-model", where: { file: "net.onnx" } });
  });

  test("the node is named in the error's fields too", async () => {
    const error = await refusal(serialise(model({ input, node: [relu("z", "y")] })));
    expect(error.where).toEqual({ file: "net.onnx", node: "relu_y", op: "Relu" });
  });

  const OTHERS: readonly [string, Bytes, RegExp][] = [
    ["nothing", new Uint8Array(0), /the file is empty/],
    ["text", text("hello, this is no model") as Bytes, /not an ONNX model/],
    ["a Git LFS pointer", text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n") as Bytes, /git lfs pull/],
    ["a web page", text("<!doctype html><title>404</title>") as Bytes, /web page/],
    ["a zip archive", text("PK\x03\x04 and so on and so on") as Bytes, /PyTorch/],
    ["a TensorFlow Lite model", text("\x1c\0\0\0TFL3 and so on") as Bytes, /TensorFlow Lite/],
    ["zeros", new Uint8Array(100), /not an ONNX model/],
  ];
  test.each(OTHERS)("not a model at all: %s", async (_, bytes, expected) => {
    expect((await refusal(bytes)).message).toMatch(expected);
  });

  test("every proper prefix of a model", async () => {
    const bytes = serialise(smallNetwork());
    for (let length = 0; length < bytes.length; length += 7) {
      expect((await refusal(bytes.slice(0, length))).code).toBe("bad-model");
    }
  });

  test("a producer whose name looks like another format's signature is no reason to refuse", async () => {
    const bytes = serialise({ ...smallNetwork(), producerName: "ORTModel exporter" });
    expect(new TextDecoder().decode(bytes.subarray(4, 8))).toBe("ORTM");
    expect((await decodeModel(bytes)).producer).toBe("ORTModel exporter");
  });
});

describe("what is unusual but sound is accepted", () => {
  const accepted = async (message: ModelInit) => (await decodeModel(serialise(message))).graph;

  test("subgraphs see the values around them", async () => {
    await accepted(inBranch({ node: [relu("x", "b")], output: [{ name: "b" }] }));
    await accepted(inBranch({ output: [{ name: "x" }] }));
  });

  test("absent optional inputs and outputs, and graph outputs that are inputs or initialisers", async () => {
    const optional = node("Clip", ["x", "", "w"], ["", "y"]);
    const initializer = [floatTensor("w", [1])];
    await accepted(model({ input, initializer, node: [optional], output: [...input, { name: "w" }, { name: "y" }] }));
  });

  test("initialisers that are also inputs", async () => {
    await accepted(model({ input: [value("w", [1])], initializer: [floatTensor("w", [1])], node: [relu("w", "y")] }));
  });

  test("models of other domains only", async () => {
    const scaler = { ...node("Scaler", ["x"], ["y"]), domain: "ai.onnx.ml" };
    await accepted({ ...model({ input, node: [scaler] }), opsetImport: [{ domain: "ai.onnx.ml", version: 3n }] });
  });

  test("nodes out of order are sorted, moving no more than needed, also in subgraphs", async () => {
    const shuffled = [relu("x", "a"), relu("c", "d"), relu("b", "c"), relu("x", "b"), relu("d", "e")];
    const sorted = ["a", "b", "c", "d", "e"];
    const { nodes } = await accepted(model({ input, node: shuffled }));
    expect(nodes.map(({ outputs }) => outputs[0])).toEqual(sorted);
    const outer = await accepted(inBranch({ node: shuffled, output: [{ name: "e" }] }));
    const branch = outer.nodes[0]!.attributes.then_branch!;
    expect(branch.kind === "graph" && branch.value.nodes.map(({ outputs }) => outputs[0])).toEqual(sorted);
  });

  test("a node whose subgraph reads a later value is moved after it", async () => {
    const chosen = node("If", ["x"], ["y"], [subgraph("then_branch", { node: [relu("late", "b")] })]);
    const { nodes } = await accepted(model({ input, node: [chosen, relu("x", "late")] }));
    expect(nodes.map(({ op }) => op)).toEqual(["Relu", "If"]);
  });

  /** Node i reads some of the nodes before it; and an order. */
  const shuffledDags = fc.integer({ min: 1, max: 12 }).chain((count) => {
    const reads = (i: number) => fc.uniqueArray(fc.nat(Math.max(0, i - 1)), { maxLength: Math.min(i, 3) });
    const all = Array.from({ length: count }, (_, i) => i);
    return fc.tuple(fc.tuple(...all.map(reads)), fc.shuffledSubarray(all, { minLength: count }));
  });

  test("whatever the order: each node once, after all it needs; and what is in order stays", () => {
    const inputs = [build.valueInfo("x", "float32", [1])];
    fc.assert(
      fc.property(shuffledDags, ([reads, order]) => {
        const nodes = reads.map((from, i) => build.node("Op", ["x", ...from.map((j) => `v${j}`)], [`v${i}`]));
        const outputs = [build.valueInfo("v0", "float32", null)];
        const sorted = validated(build.model({ inputs, outputs, nodes: order.map((i) => nodes[i]!) }));
        const place = new Map(sorted.graph.nodes.map((each, i) => [each.outputs[0]!, i]));
        expect(new Set(sorted.graph.nodes)).toEqual(new Set(nodes));
        expect(sorted.graph.nodes).toHaveLength(nodes.length);
        for (const [i, { inputs: needed }] of sorted.graph.nodes.entries())
          for (const name of needed) expect(place.get(name) ?? -1).toBeLessThan(i);
        expect(validated(sorted)).toBe(sorted);
      }),
    );
  });

  test("long chains in the worst order", async () => {
    const chain = Array.from({ length: 20_000 }, (_, i) => ({
      opType: "Relu",
      input: [`v${i}`],
      output: [`v${i + 1}`],
    }));
    const { nodes } = await accepted(model({ input: [value("v0", [1])], node: chain.reverse() }));
    expect(nodes[0]!.inputs).toEqual(["v0"]);
    expect(nodes.at(-1)!.outputs).toEqual(["v20000"]);
  });
});
