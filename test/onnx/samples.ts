// ONNX files made in code, straight from protobuf messages: an ordinary small network, and one that uses every corner of
// the format. Also what "the same file" means.

import {
  create,
  createRegistry,
  type DescMessage,
  equals,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  AttributeProto_AttributeType as Attr,
  type AttributeProtoSchema,
  type GraphProtoSchema,
  type ModelProto,
  ModelProtoSchema,
  type NodeProtoSchema,
  TensorProto_DataLocation,
  type TensorProtoSchema,
  TensorProto_DataType as Type,
  type ValueInfoProtoSchema,
} from "onnx-buf";

export type Bytes = Uint8Array<ArrayBuffer>;
/** A message's fields as plain objects. */
type Init<S extends DescMessage> = Exclude<MessageInitShape<S>, MessageShape<S>>;
export type NodeInit = Init<typeof NodeProtoSchema>;
export type AttributeInit = Init<typeof AttributeProtoSchema>;
export type GraphInit = Init<typeof GraphProtoSchema>;
export type ModelInit = Init<typeof ModelProtoSchema>;
export type TensorInit = Init<typeof TensorProtoSchema>;
export type ValueInit = Init<typeof ValueInfoProtoSchema>;

export const parse = (bytes: Uint8Array) => fromBinary(ModelProtoSchema, bytes);
export function serialise(message: ModelInit | ModelProto): Bytes {
  return toBinary(ModelProtoSchema, create(ModelProtoSchema, message)) as Bytes;
}
export const text = (string: string) => new TextEncoder().encode(string);

const registry = createRegistry();

/** Same message, presence of every field and unknown fields included. */
export function sameFile(a: Uint8Array, b: Uint8Array): boolean {
  return equals(ModelProtoSchema, parse(a), parse(b), { unknown: true, registry });
}

/** A message's canonical bytes: also equal where NaNs stand, which `equals` does not allow. */
export const canonical = (bytes: Uint8Array) =>
  Buffer.from(toBinary(ModelProtoSchema, parse(bytes))).toString("base64");

export function raw(values: Float32Array | BigInt64Array | Uint8Array): Bytes {
  return new Uint8Array(values.buffer.slice(values.byteOffset, values.byteOffset + values.byteLength) as ArrayBuffer);
}

export function floatTensor(name: string, dims: readonly number[], fill = 0.5): TensorInit {
  const count = dims.reduce((product, dim) => product * dim, 1);
  const data = Float32Array.from({ length: count }, (_, i) => fill + i / 8);
  return { name, dims: dims.map(BigInt), dataType: Type.FLOAT, rawData: raw(data) };
}

export function value(name: string, dims: readonly (number | string)[], elemType = Type.FLOAT): ValueInit {
  const dim = dims.map((size) => ({
    value:
      typeof size === "number"
        ? { case: "dimValue" as const, value: BigInt(size) }
        : { case: "dimParam" as const, value: size },
  }));
  return { name, type: { value: { case: "tensorType", value: { elemType, shape: { dim } } } } };
}

export const ints = (name: string, values: readonly (number | bigint)[]): AttributeInit => ({
  name,
  type: Attr.INTS,
  ints: values.map(BigInt),
});

export const subgraph = (name: string, g: GraphInit): AttributeInit => ({ name, type: Attr.GRAPH, g });

export function node(opType: string, input: string[], output: string[], attribute: AttributeInit[] = []): NodeInit {
  return { opType, name: `${opType.toLowerCase()}_${output[0]}`, input, output, attribute };
}

export function model(graph: GraphInit, more: ModelInit = {}): ModelInit {
  return { irVersion: 8n, producerName: "samples", opsetImport: [{ domain: "", version: 17n }], graph, ...more };
}

/** Convolution, batch normalisation, ReLU, pooling, classifier. */
export function smallNetwork(): ModelInit {
  const conv = [ints("kernel_shape", [3, 3]), ints("pads", [1, 1, 1, 1]), ints("strides", [2, 2])];
  return model({
    name: "network",
    node: [
      node("Conv", ["image", "w1", "b1"], ["c1"], conv),
      node(
        "BatchNormalization",
        ["c1", "scale", "bias", "mean", "var"],
        ["n1"],
        [{ name: "epsilon", type: Attr.FLOAT, f: 1e-5 }],
      ),
      node("Relu", ["n1"], ["r1"]),
      node("GlobalAveragePool", ["r1"], ["p1"]),
      node("Flatten", ["p1"], ["f1"], [{ name: "axis", type: Attr.INT, i: 1n }]),
      node("Gemm", ["f1", "w2", "b2"], ["logits"], [{ name: "transB", type: Attr.INT, i: 1n }]),
    ],
    initializer: [
      floatTensor("w1", [4, 3, 3, 3]),
      floatTensor("b1", [4]),
      ...["scale", "bias", "mean", "var"].map((name) => floatTensor(name, [4])),
      floatTensor("w2", [10, 4]),
      floatTensor("b2", [10]),
    ],
    input: [value("image", ["batch", 3, 8, 8])],
    output: [value("logits", ["batch", 10])],
    valueInfo: [value("c1", ["batch", 4, 4, 4])],
  });
}

/** Graphs inside nodes: If, whose branches use the outer scope, and Loop. */
function controlFlow(): NodeInit[] {
  const branch = (op: string): GraphInit => ({
    name: op,
    docString: "a branch",
    node: [node(op, ["c1", "c1"], [`${op}_out`])],
    output: [value(`${op}_out`, [])],
    initializer: [floatTensor(`${op}_unused`, [2])],
  });
  const body: GraphInit = {
    name: "body",
    input: [value("i", [], Type.INT64), value("go", [], Type.BOOL), value("state", [1])],
    node: [node("Identity", ["go"], ["go_on"]), node("Add", ["state", "b1"], ["state_out"])],
    output: [value("go_on", [], Type.BOOL), value("state_out", [4])],
  };
  return [
    node("If", ["yes"], ["chosen"], [subgraph("then_branch", branch("Add")), subgraph("else_branch", branch("Mul"))]),
    node("Loop", ["trips", "yes", "b1"], ["looped"], [subgraph("body", body)]),
    node("Either", [], ["either"], [{ name: "graphs", type: Attr.GRAPHS, graphs: [branch("Sub"), branch("Div")] }]),
  ];
}

/** One attribute of every kind and in every state that the plain data does not hold. */
function attributes(): AttributeInit[] {
  const sparse = {
    values: { name: "v", dims: [1n], dataType: Type.FLOAT, floatData: [2] },
    indices: { dims: [1n], dataType: Type.INT64, int64Data: [3n] },
    dims: [9n],
  };
  return [
    { name: "float", type: Attr.FLOAT, f: 0.1 },
    { name: "zero_left_out", type: Attr.FLOAT },
    { name: "zero_written", type: Attr.INT, i: 0n },
    { name: "negative_zero", type: Attr.FLOAT, f: -0 },
    { name: "large", type: Attr.INT, i: 2n ** 62n + 1n },
    ints("large_ints", [2n ** 53n - 1n, 2n ** 53n + 1n, -(2n ** 63n)]),
    { name: "string", type: Attr.STRING, s: text("\ufeffnaïve"), docString: "with a mark" },
    { name: "binary", type: Attr.STRING, s: new Uint8Array([0xff, 0xfe, 0]) },
    { name: "strings", type: Attr.STRINGS, strings: [text("a"), text("")] },
    { name: "binaries", type: Attr.STRINGS, strings: [text("a"), new Uint8Array([0xc0])] },
    { name: "floats", type: Attr.FLOATS, floats: [0.1, -0, Infinity] },
    { name: "none", type: Attr.FLOATS },
    { name: "tensor", type: Attr.TENSOR, t: floatTensor("", [2]) },
    { name: "tensors", type: Attr.TENSORS, tensors: [floatTensor("t", []), floatTensor("", [1])] },
    { name: "sparse", type: Attr.SPARSE_TENSOR, sparseTensor: sparse },
    { name: "sparses", type: Attr.SPARSE_TENSORS, sparseTensors: [sparse, sparse] },
    { name: "type", type: Attr.TYPE_PROTO, tp: { denotation: "IMAGE" } },
    { name: "types", type: Attr.TYPE_PROTOS, typeProtos: [{}, { denotation: "IMAGE" }] },
    { name: "untyped", i: 5n },
    { name: "untyped_list", floats: [1] },
    { name: "empty" },
    { name: "unknown", type: Attr.INT, i: 1n },
    { name: "future", i: 3n, f: 2 },
  ];
}

/** A tensor of every element type, in raw_data and in its typed field, and some odd ones. */
export function tensors(): TensorInit[] {
  const int32 = (name: string, dataType: Type, dims: bigint[], int32Data: number[]) => ({
    name,
    dataType,
    dims,
    int32Data,
  });
  const bits: [string, number][] = Object.entries(Type).filter(
    (entry): entry is [string, number] => Number(entry[1]) > 0,
  );
  const sizes: Record<string, number> = { COMPLEX128: 48, DOUBLE: 24, INT64: 24, UINT64: 24, COMPLEX64: 24 };
  const small = { INT4: 2, UINT4: 2, FLOAT4E2M1: 2, INT2: 1, UINT2: 1 };
  const width = (type: string) =>
    sizes[type] ?? small[type as keyof typeof small] ?? (/16/.test(type) ? 6 : /32|^FLOAT$/.test(type) ? 12 : 3);
  const everyType = bits
    .filter(([type]) => type !== "STRING")
    .map(([type, dataType]) => ({
      name: `raw_${type}`,
      dataType,
      dims: [3n],
      rawData: Uint8Array.from({ length: width(type) }, (_, i) => i),
    }));
  return [
    ...everyType,
    { name: "floats", dataType: Type.FLOAT, dims: [2n, 2n], floatData: [0.1, -0, Infinity, 1e-45] },
    { name: "complex", dataType: Type.COMPLEX64, dims: [2n], floatData: [1, 2, 3, 4] },
    { name: "doubles", dataType: Type.DOUBLE, dims: [2n], doubleData: [0.1, 1e300] },
    { name: "complex128", dataType: Type.COMPLEX128, dims: [1n], doubleData: [0.1, 1e300] },
    { name: "int64s", dataType: Type.INT64, dims: [3n], int64Data: [-1n, 2n ** 62n, -(2n ** 63n)] },
    { name: "uint64s", dataType: Type.UINT64, dims: [1n], uint64Data: [2n ** 64n - 1n] },
    { name: "uint32s", dataType: Type.UINT32, dims: [1n], uint64Data: [2n ** 32n - 1n] },
    { name: "strings", dataType: Type.STRING, dims: [2n], stringData: [text("a"), new Uint8Array([0xff])] },
    { name: "no_strings", dataType: Type.STRING, dims: [0n] },
    int32("int32s", Type.INT32, [2n], [-5, 2 ** 31 - 1]),
    int32("int16s", Type.INT16, [2n], [-5, 7]),
    int32("int8s", Type.INT8, [2n], [-5, 7]),
    int32("uint8s", Type.UINT8, [2n], [255, 0]),
    int32("bools", Type.BOOL, [2n], [1, 0]),
    int32("halves", Type.FLOAT16, [2n], [0x3c00, 0xfc00]),
    int32("bfloats", Type.BFLOAT16, [1n], [0x3f80]),
    int32("float8s", Type.FLOAT8E4M3FN, [1n], [0x7e]),
    int32("int4s", Type.INT4, [3n], [0x21, 0x03]),
    int32("int2s", Type.INT2, [5n], [0xe4, 0x01]),
    int32("out_of_range", Type.UINT8, [2n], [-1, 300]),
    { name: "empty", dataType: Type.FLOAT, dims: [0n, 3n] },
    { name: "empty_raw", dataType: Type.FLOAT, dims: [0n], rawData: new Uint8Array(0) },
    { ...floatTensor("documented", []), docString: "a scalar", dataLocation: TensorProto_DataLocation.DEFAULT },
    { ...floatTensor("annotated", [1]), metadataProps: [{ key: "k", value: "v" }] },
  ];
}

/** Values whose types are more than an element type and a shape. */
function values(): ValueInit[] {
  const inner = { value: { case: "tensorType" as const, value: { elemType: Type.INT64 } } };
  return [
    { name: "untyped" },
    { name: "documented", docString: "what it is", metadataProps: [{ key: "a", value: "b" }] },
    { name: "rank_unknown", type: inner },
    { name: "no_type_but_shape", type: { value: { case: "tensorType", value: { shape: { dim: [{}] } } } } },
    { name: "empty_type", type: {} },
    { name: "sequence", type: { value: { case: "sequenceType", value: { elemType: inner } } } },
    { name: "map", type: { value: { case: "mapType", value: { keyType: Type.STRING, valueType: inner } } } },
    { name: "optional", type: { value: { case: "optionalType", value: { elemType: inner } } } },
    { name: "sparse", type: { value: { case: "sparseTensorType", value: { elemType: Type.FLOAT, shape: {} } } } },
    {
      name: "image",
      type: {
        denotation: "IMAGE",
        value: {
          case: "tensorType",
          value: {
            elemType: Type.FLOAT,
            shape: {
              dim: [
                { denotation: "DATA_BATCH", value: { case: "dimParam", value: "N" } },
                { denotation: "DATA_CHANNEL", value: { case: "dimValue", value: 3n } },
                { value: { case: "dimValue", value: -1n } },
                { value: { case: "dimParam", value: "" } },
                {},
              ],
            },
          },
        },
      },
    },
  ];
}

/** A valid file that says everything that onnx.proto lets a file say, and a few things that it does not know yet. */
export function richModel(): ModelProto {
  const message = create(ModelProtoSchema, richFields());
  const graph = message.graph!;
  const wide = graph.node.find(({ opType }) => opType === "Wide")!;
  const attribute = (name: string) => wide.attribute.find((entry) => entry.name === name)!;
  const tensor = graph.initializer.find(({ name }) => name === "t_annotated")!;
  const places = [message, graph, message.opsetImport[1]!, wide, attribute("unknown"), attribute("future"), tensor];
  for (const [i, place] of places.entries()) {
    place.$unknown = [{ no: 1000 + i, wireType: 0, data: new Uint8Array([i]) }];
  }
  return message;
}

function richFields(): ModelInit {
  const doc = { docString: "why", metadataProps: [{ key: "k", value: "v" }] };
  const wide: NodeInit = { ...node("Wide", ["c1", "", "b1"], ["wide", ""], attributes()), ...doc };
  wide.domain = "com.example";
  wide.overload = "second";
  wide.deviceConfigurations = [{ configurationId: "two", pipelineStage: 1, shardingSpec: [{ tensorName: "c1" }] }];
  const bare: NodeInit = { opType: "Relu", input: ["c1"], output: ["relu"], domain: "ai.onnx", name: "" };
  const small = smallNetwork().graph as GraphInit;
  const scalar = (name: string, dataType: Type, int32Data: number[]) => ({ name, dataType, int32Data });
  return {
    ...smallNetwork(),
    irVersion: 11n,
    opsetImport: [
      { domain: "ai.onnx", version: 21n },
      { domain: "com.example", version: 1n },
      { domain: "ai.onnx.ml", version: 5n },
    ],
    producerVersion: "1.2",
    domain: "org.example",
    modelVersion: -3n,
    ...doc,
    metadataProps: [{ key: "twice", value: "a" }, { key: "twice", value: "b" }, { key: "no value" }, {}],
    graph: {
      ...small,
      ...doc,
      node: [...small.node!, wide, bare, ...controlFlow()],
      initializer: [
        ...small.initializer!,
        ...tensors().map((tensor) => ({ ...tensor, name: `t_${tensor.name}` })),
        scalar("yes", Type.BOOL, [1]),
        { name: "trips", dataType: Type.INT64, int64Data: [2n] },
      ],
      sparseInitializer: [
        {
          values: { name: "sparse_w", dims: [1n], dataType: Type.FLOAT, rawData: new Uint8Array(4) },
          indices: { dims: [1n], dataType: Type.INT64, rawData: new Uint8Array(8) },
          dims: [100n],
        },
      ],
      output: [...small.output!, value("chosen", []), { name: "sparse_w" }],
      valueInfo: values(),
      quantizationAnnotation: [
        { tensorName: "c1", quantParameterTensorNames: [{ key: "SCALE_TENSOR", value: "scale" }] },
      ],
    },
    trainingInfo: [{ initialization: { name: "init" }, updateBinding: [{ key: "w1", value: "logits" }] }],
    functions: [
      {
        name: "Twice",
        domain: "com.example",
        input: ["x"],
        output: ["y"],
        attribute: ["alpha"],
        attributeProto: [{ name: "beta", type: Attr.FLOAT, f: 1 }],
        node: [node("LeakyRelu", ["x"], ["y"], [{ name: "alpha", type: Attr.FLOAT, refAttrName: "alpha" }])],
        opsetImport: [{ domain: "", version: 21n }],
      },
    ],
    configuration: [{ name: "two", numDevices: 2, device: ["a", "b"] }],
  };
}

export type { ModelProto };
