// The model as plain read-only data. Nothing here knows protobuf or ONNX Runtime; passes take a Model and return a new
// one that shares what did not change. Names follow the ONNX specification (onnx.ai/onnx/intro/concepts.html).

/** Element types, by their ONNX names in lower case. */
export type ElementType =
  | "float32"
  | "uint8"
  | "int8"
  | "uint16"
  | "int16"
  | "int32"
  | "int64"
  | "string"
  | "bool"
  | "float16"
  | "float64"
  | "uint32"
  | "uint64"
  | "complex64"
  | "complex128"
  | "bfloat16"
  | "float8e4m3fn"
  | "float8e4m3fnuz"
  | "float8e5m2"
  | "float8e5m2fnuz"
  | "uint4"
  | "int4"
  | "float4e2m1"
  | "float8e8m0"
  | "uint2"
  | "int2";

/** A known size, a symbolic size such as "batch", or an unknown one. */
export type Dim = number | string | null;

/**
 * The parts of a file that lowrank does not model (doc strings, unknown fields, quantisation annotations...). Only
 * onnx/ looks inside; every other layer carries it along when it copies an object, so that nothing is lost on writing.
 */
export type Rest = { readonly __rest?: never } & object;

/** A constant. `bytes` is a view on the file's bytes (little-endian, row-major, packed as in ONNX raw_data). */
export interface Tensor {
  readonly name: string;
  readonly type: ElementType;
  readonly dims: readonly number[];
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Elements of a "string" tensor, whose `bytes` is empty. */
  readonly strings?: readonly Uint8Array<ArrayBuffer>[];
  readonly rest?: Rest;
}

/** An attribute's value. Integers are `number` where that is exact, else `bigint`. "opaque" kinds live in `rest`. */
export type AttributeValue =
  | { readonly kind: "float"; readonly value: number }
  | { readonly kind: "int"; readonly value: number | bigint }
  | { readonly kind: "string"; readonly value: string }
  | { readonly kind: "tensor"; readonly value: Tensor }
  | { readonly kind: "graph"; readonly value: Graph }
  | { readonly kind: "floats"; readonly value: readonly number[] }
  | { readonly kind: "ints"; readonly value: readonly (number | bigint)[] }
  | { readonly kind: "strings"; readonly value: readonly string[] }
  | { readonly kind: "tensors"; readonly value: readonly Tensor[] }
  | { readonly kind: "graphs"; readonly value: readonly Graph[] }
  /** Inside a function: the attribute of that name of the call. */
  | { readonly kind: "reference"; readonly value: string }
  | { readonly kind: "opaque" };

export type Attribute = AttributeValue & { readonly rest?: Rest };

/** One operator call. An empty string in `inputs` or `outputs` stands for an optional one that is absent. */
export interface Node {
  readonly op: string;
  /** "" is the standard ONNX domain. */
  readonly domain: string;
  readonly name: string;
  /** Which of several functions of the same domain and name is called. */
  readonly overload?: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, Attribute>>;
  readonly rest?: Rest;
}

/** A model-local function: what calls of its domain and name (and overload) stand for. */
export interface ModelFunction {
  readonly name: string;
  readonly domain: string;
  readonly overload: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Values of attributes that a call leaves out; one that has none is then absent. */
  readonly defaults: Readonly<Record<string, Attribute>>;
  /** Operator set versions by domain, which need not be the model's. */
  readonly opsets: ReadonlyMap<string, number>;
  readonly nodes: readonly Node[];
  readonly rest?: Rest;
}

/** Type and shape of a value. `type` is null for sequences, maps and optionals; `shape` is null where unknown. */
export interface ValueInfo {
  readonly name: string;
  readonly type: ElementType | null;
  readonly shape: readonly Dim[] | null;
  readonly rest?: Rest;
}

export interface Graph {
  readonly name: string;
  /** Topologically ordered, as ONNX demands. */
  readonly nodes: readonly Node[];
  readonly initializers: ReadonlyMap<string, Tensor>;
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  /** What the file says about values in between (value_info). */
  readonly values: ReadonlyMap<string, ValueInfo>;
  readonly rest?: Rest;
}

export interface Model {
  readonly irVersion: number;
  /** Operator set versions by domain; "" is the standard domain. */
  readonly opsets: ReadonlyMap<string, number>;
  readonly producer: string;
  readonly metadata: ReadonlyMap<string, string>;
  readonly graph: Graph;
  /** Absent where there are none. */
  readonly functions?: readonly ModelFunction[];
  /** Training information and all else a file may hold. */
  readonly rest?: Rest;
}
