import fc from "fast-check";
import {
  AttributeProto_AttributeType as Attr,
  type ModelProto,
  type NodeProto,
  TensorProto_DataType as Type,
} from "onnx-buf";
import { describe, expect, test } from "vitest";
import type { Model, Node, Tensor } from "../../src/graph/model.ts";
import { floats, integers } from "../../src/graph/tensor.ts";
import { decodeModel } from "../../src/onnx/decode.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import {
  canonical,
  floatTensor,
  type ModelInit,
  model,
  node,
  parse,
  raw,
  richModel,
  sameFile,
  serialise,
  smallNetwork,
  type TensorInit,
  tensors,
  value,
} from "./samples.ts";

async function expectUnchanged(message: ModelInit | ModelProto): Promise<Model> {
  const bytes = serialise(message);
  const decoded = await decodeModel(bytes);
  const written = encodeModel(decoded);
  expect(parse(written)).toEqual(parse(bytes));
  expect(sameFile(written, bytes)).toBe(true);
  expect(canonical(written)).toBe(canonical(bytes));
  return decoded;
}

/** What a pass does to a model: new objects all the way down, sharing what it does not know. */
function copied({ graph, ...rest }: Model): Model {
  const nodes = graph.nodes.map((entry) => ({
    ...entry,
    inputs: [...entry.inputs],
    attributes: { ...entry.attributes },
  }));
  const initializers = new Map([...graph.initializers].map(([name, tensor]) => [name, { ...tensor }]));
  return { ...rest, graph: { ...graph, nodes, initializers, values: new Map(graph.values) } };
}

describe("a file goes in and out unchanged", () => {
  test("an ordinary network", async () => {
    const decoded = await expectUnchanged(smallNetwork());
    expect(decoded.opsets).toEqual(new Map([["", 17]]));
    expect(decoded.graph.nodes.map(({ op }) => op)).toContain("Gemm");
    expect(decoded.graph.inputs).toEqual([{ name: "image", type: "float32", shape: ["batch", 3, 8, 8] }]);
    // Nothing unusual, nothing left over.
    expect(JSON.stringify([...decoded.graph.initializers.values(), ...decoded.graph.nodes])).not.toContain("rest");
  });

  test("one that uses every corner of the format, also after copying its objects", async () => {
    const decoded = await expectUnchanged(richModel());
    expect(canonical(encodeModel(copied(decoded)))).toBe(canonical(serialise(richModel())));
  });

  test("all operator sets from 7 on", async () => {
    for (let version = 7n; version <= 25n; version++) {
      const { opsets } = await expectUnchanged({ ...smallNetwork(), opsetImport: [{ version }] });
      expect(opsets.get("")).toBe(Number(version));
    }
  });

  test("NaNs", async () => {
    const nan = Number.NaN;
    const initializer: TensorInit[] = [
      { name: "typed", dataType: Type.FLOAT, dims: [2n], floatData: [nan, 1] },
      { name: "raw", dataType: Type.FLOAT, dims: [1n], rawData: new Uint8Array([1, 0, 0xa0, 0x7f]) },
    ];
    const attribute = [{ name: "f", type: Attr.FLOAT, f: nan }];
    const bytes = serialise(model({ initializer, node: [node("Celu", ["raw"], ["y"], attribute)] }));
    expect(canonical(encodeModel(await decodeModel(bytes)))).toBe(canonical(bytes));
  });

  test("files without types of attributes, as in the first IR version", async () => {
    const attribute = [
      { name: "axis", i: 2n },
      { name: "names", strings: [new Uint8Array([97])] },
    ];
    const message = model({ input: [value("x", [1])], node: [{ ...node("Old", ["x"], ["y"]), attribute }] });
    const { graph } = await expectUnchanged({ ...message, irVersion: 1n });
    expect(graph.nodes[0]!.attributes.axis).toMatchObject({ kind: "int", value: 2 });
    expect(graph.nodes[0]!.attributes.names).toMatchObject({ kind: "strings", value: ["a"] });
  });

  test("random models", async () => {
    await fc.assert(
      fc.asyncProperty(randomModel(), async (message) => void (await expectUnchanged(message))),
      { numRuns: 150 },
    );
  });
});

describe("the plain data", () => {
  test("initialisers are views on the file's bytes", async () => {
    const padded = new Uint8Array(new ArrayBuffer(serialise(smallNetwork()).length + 8), 5);
    const bytes = padded.subarray(0, serialise(smallNetwork()).length);
    bytes.set(serialise(smallNetwork()));
    for (const tensor of (await decodeModel(bytes)).graph.initializers.values()) {
      expect(tensor.bytes.buffer).toBe(bytes.buffer);
    }
  });

  test("typed fields give the same bytes as raw data would", async () => {
    const initializer = tensors().map((tensor) => ({ ...tensor }));
    const { graph } = await decodeModel(serialise(model({ initializer })));
    const of = (name: string) => graph.initializers.get(name)!;
    expect([...floats(of("floats"))]).toEqual([Math.fround(0.1), -0, Infinity, 2 ** -149]);
    expect([...floats(of("doubles"))]).toEqual([0.1, 1e300]);
    expect(integers(of("int32s"))).toEqual([-5, 2 ** 31 - 1]);
    expect([...of("int16s").bytes]).toEqual([0xfb, 0xff, 7, 0]);
    expect([...of("int8s").bytes]).toEqual([0xfb, 7]);
    expect([...of("halves").bytes]).toEqual([0, 0x3c, 0, 0xfc]);
    expect([...of("int4s").bytes]).toEqual([0x21, 0x03]);
    expect([...of("uint32s").bytes]).toEqual([255, 255, 255, 255]);
    expect(of("uint64s").bytes).toHaveLength(8);
    expect(of("complex").bytes).toHaveLength(16);
    expect(of("strings").strings).toHaveLength(2);
    expect(of("raw_BFLOAT16")).toMatchObject({ type: "bfloat16", dims: [3] });
  });

  test("integers are numbers where exact, else bigints", async () => {
    const { graph } = await decodeModel(serialise(richModel()));
    const { attributes } = graph.nodes.find(({ op }) => op === "Wide")!;
    expect(attributes.large).toEqual({ kind: "int", value: 2n ** 62n + 1n });
    expect(attributes.large_ints).toEqual({ kind: "ints", value: [2 ** 53 - 1, 2n ** 53n + 1n, -(2n ** 63n)] });
    expect(attributes.binary!.kind).toBe("opaque");
    expect(attributes.string).toMatchObject({ kind: "string", value: "\ufeffnaïve" });
  });

  test("names of domains, symbolic and unknown sizes, metadata", async () => {
    const { graph, opsets, metadata } = await decodeModel(serialise(richModel()));
    expect(opsets).toEqual(
      new Map([
        ["", 21],
        ["com.example", 1],
        ["ai.onnx.ml", 5],
      ]),
    );
    expect(metadata).toEqual(
      new Map([
        ["twice", "b"],
        ["no value", ""],
        ["", ""],
      ]),
    );
    expect(graph.nodes.find(({ op, name }) => op === "Relu" && name === "")!.domain).toBe("");
    expect(graph.values.get("image")).toMatchObject({ type: "float32", shape: ["N", 3, null, null, null] });
    expect(graph.values.get("sequence")).toMatchObject({ type: null, shape: null });
  });
});

describe("changes are written, and what is not modelled stays", () => {
  const changeNode = async (op: string, change: (node: Node) => Node): Promise<NodeProto> => {
    const decoded = await decodeModel(serialise(richModel()));
    const nodes = decoded.graph.nodes.map((entry) => (entry.op === op ? change(entry) : entry));
    const written = parse(encodeModel({ ...decoded, graph: { ...decoded.graph, nodes } }));
    return written.graph!.node.find(({ opType }) => opType === op)!;
  };

  test("of a node", async () => {
    const written = await changeNode("Wide", (entry) => ({ ...entry, name: "renamed", inputs: ["b1"] }));
    expect(written).toMatchObject({ name: "renamed", input: ["b1"], docString: "why", overload: "second" });
  });

  test("of attributes, also to another kind", async () => {
    const { attribute } = await changeNode("Wide", (entry) => ({
      ...entry,
      attributes: {
        ...entry.attributes,
        unknown: { ...entry.attributes.unknown!, kind: "int", value: 8 },
        string: { ...entry.attributes.string!, kind: "float", value: 0 },
        binary: { ...entry.attributes.binary!, kind: "ints", value: [7] },
      },
    }));
    const of = (name: string) => attribute!.find((entry) => entry.name === name)!;
    expect(of("unknown")).toMatchObject({ i: 8n, $unknown: [{ no: 1004 }] });
    expect(of("string")).toMatchObject({ type: Attr.FLOAT, f: 0, docString: "with a mark" });
    expect(Object.hasOwn(of("string"), "f") && !Object.hasOwn(of("string"), "s")).toBe(true);
    expect(of("binary")).toMatchObject({ type: Attr.INTS, ints: [7n] });
    expect(Object.hasOwn(of("binary"), "s")).toBe(false);
  });

  test("of a tensor, in the field that the file kept it in while that suits its type", async () => {
    const write = async (name: string, change: (tensor: Tensor) => Tensor) => {
      const decoded = await decodeModel(serialise(richModel()));
      const initializers = new Map(decoded.graph.initializers);
      initializers.set(name, change(initializers.get(name)!));
      const { graph } = parse(encodeModel({ ...decoded, graph: { ...decoded.graph, initializers } }));
      return graph!.initializer.find((tensor) => tensor.name === name)!;
    };
    const doubled = await write("t_floats", (tensor) => ({
      ...tensor,
      dims: [2],
      bytes: raw(Float32Array.of(8, 9)),
    }));
    expect(doubled).toMatchObject({ dims: [2n], floatData: [8, 9] });
    const retyped = await write("t_floats", (tensor) => ({
      ...tensor,
      type: "float16",
      dims: [1],
      bytes: raw(Uint8Array.of(1, 2)),
    }));
    expect(retyped).toMatchObject({ dataType: Type.FLOAT16, floatData: [], rawData: new Uint8Array([1, 2]) });
    const wrapped = await write("t_out_of_range", (tensor) => ({ ...tensor, bytes: raw(Uint8Array.of(1, 2)) }));
    expect(wrapped).toMatchObject({ int32Data: [1, 2] });
    const kept = await write("t_annotated", (tensor) => ({ ...tensor, bytes: raw(Float32Array.of(1)) }));
    expect(kept).toMatchObject({ metadataProps: [{ key: "k", value: "v" }], $unknown: [{ no: 1006 }] });
  });

  test("of a value's shape: denotations stay", async () => {
    const decoded = await decodeModel(serialise(richModel()));
    const values = new Map(decoded.graph.values);
    values.set("image", { ...values.get("image")!, shape: [1, 3, 224, null, "W"] });
    values.set("sequence", { ...values.get("sequence")!, type: "int32" });
    const { graph } = parse(encodeModel({ ...decoded, graph: { ...decoded.graph, values } }));
    const type = graph!.valueInfo.find(({ name }) => name === "image")!.type!;
    expect(type.denotation).toBe("IMAGE");
    expect(type.value).toMatchObject({
      case: "tensorType",
      value: {
        shape: {
          dim: [
            { denotation: "DATA_BATCH", value: { case: "dimValue", value: 1n } },
            { denotation: "DATA_CHANNEL", value: { case: "dimValue", value: 3n } },
            { value: { case: "dimValue", value: 224n } },
            { value: { case: "dimParam", value: "" } },
            { value: { case: "dimParam", value: "W" } },
          ],
        },
      },
    });
    expect(graph!.valueInfo.find(({ name }) => name === "sequence")!.type!.value.case).toBe("tensorType");
  });

  test("of operator sets and metadata", async () => {
    const decoded = await decodeModel(serialise(richModel()));
    const opsets = new Map(decoded.opsets).set("", 22).set("com.microsoft", 1);
    opsets.delete("ai.onnx.ml");
    const metadata = new Map([
      ["twice", "c"],
      ["new", "d"],
    ]);
    const written = parse(encodeModel({ ...decoded, opsets, metadata }));
    const entries = written.opsetImport.map(({ domain, version }) => [domain, version]);
    expect(entries).toEqual([
      ["ai.onnx", 22n],
      ["com.example", 1n],
      ["com.microsoft", 1n],
    ]);
    expect(written.opsetImport[1]!.$unknown).toHaveLength(1);
    expect(written.metadataProps.map(({ key, value: text }) => [key, text])).toEqual([
      ["twice", "c"],
      ["twice", "c"],
      ["new", "d"],
    ]);
  });

  test("a model made in code has every field that readers demand", async () => {
    const written = parse(
      encodeModel({
        irVersion: 8,
        opsets: new Map([["", 17]]),
        producer: "",
        metadata: new Map(),
        graph: {
          name: "g",
          nodes: [
            {
              op: "Relu",
              domain: "",
              name: "",
              inputs: ["x"],
              outputs: ["y"],
              attributes: { a: { kind: "int", value: 0 } },
            },
          ],
          initializers: new Map([["w", { name: "other", type: "float32", dims: [0], bytes: new Uint8Array(0) }]]),
          inputs: [{ name: "x", type: "float32", shape: [1, "n", null] }],
          outputs: [{ name: "y", type: null, shape: null }],
          values: new Map(),
        },
      }),
    );
    const [relu] = written.graph!.node;
    expect(Object.hasOwn(relu!.attribute[0]!, "i")).toBe(true);
    expect(relu!.attribute[0]!.type).toBe(Attr.INT);
    expect(written.graph!.initializer[0]).toMatchObject({ name: "w", rawData: new Uint8Array(0) });
    expect(written.opsetImport).toMatchObject([{ domain: "", version: 17n }]);
    expect(written.graph!.output[0]!.type).toBeUndefined();
  });
});

/** Chains of nodes with random attributes over random initialisers; every value is defined before it is used. */
function randomModel(): fc.Arbitrary<ModelInit> {
  const name = fc.string({ unit: "grapheme", minLength: 1, maxLength: 8 });
  const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
  const content = fc.oneof(
    fc.record({ type: fc.constant(Attr.INT), i: int64 }),
    fc.record({ type: fc.constant(Attr.FLOAT), f: fc.float({ noNaN: true }) }),
    fc.record({ type: fc.constant(Attr.INTS), ints: fc.array(int64, { maxLength: 4 }) }),
    fc.record({ type: fc.constant(Attr.FLOATS), floats: fc.array(fc.float({ noNaN: true }), { maxLength: 4 }) }),
    fc.record({ type: fc.constant(Attr.STRING), s: bytesOf(fc.uint8Array({ maxLength: 6 })) }),
    fc.record({ type: fc.constant(Attr.STRINGS), strings: fc.array(bytesOf(fc.uint8Array({ maxLength: 3 }))) }),
    fc.record({ i: int64, docString: name }),
    fc.constantFrom(Attr.INT, Attr.FLOAT, Attr.TENSOR, Attr.GRAPH, Attr.STRINGS).map((type) => ({ type })),
  );
  const attributes = fc.dictionary(name, content, { maxKeys: 4 }).map((record) =>
    // Objects list integer-like keys first; attribute names are identifiers.
    Object.entries(record).map(([key, value]) => ({ name: `a${key}`, ...value })),
  );
  const nodes = fc.array(fc.record({ op: name, attributes, doc: fc.option(name, { nil: undefined }) }), {
    maxLength: 6,
  });
  const weights = fc.array(fc.record({ dims: fc.array(fc.nat(3), { maxLength: 3 }), typed: fc.boolean() }), {
    maxLength: 4,
  });
  const texts = fc.array(fc.record({ key: name, value: name }), { maxLength: 3 });
  return fc.record({ nodes, weights, texts }).map((parts) =>
    model(
      {
        input: [value("v0", ["n", 3])],
        output: [{ name: `v${parts.nodes.length}` }],
        initializer: parts.weights.map(({ dims, typed }, i) => randomTensor(`w${i}`, dims, typed)),
        node: parts.nodes.map(({ op, attributes: attribute, doc }, i) => ({
          ...(doc === undefined ? {} : { docString: doc }),
          ...node(op, [`v${i}`, i < parts.weights.length ? `w${i}` : ""], [`v${i + 1}`], attribute),
        })),
      },
      { metadataProps: parts.texts },
    ),
  );
}

function bytesOf(array: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array<ArrayBuffer>> {
  return array.map((bytes) => new Uint8Array(bytes));
}

function randomTensor(name: string, dims: number[], typed: boolean): TensorInit {
  const tensor = floatTensor(name, dims);
  if (!typed) return tensor;
  const { rawData, ...rest } = tensor;
  return { ...rest, floatData: [...new Float32Array(rawData!.buffer)] };
}
