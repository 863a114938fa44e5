// Constant subgraphs in front of a layer's parameters, as exporters leave them (a Transpose, a Cast, weight normalisation
// g v / ||v||), replaced by what they come to. The runtime computes it, so there are no kernels here. Ensures the same
// outputs; computations of shapes and the like are left as they are.

import { constants, extract, prune, subgraphs } from "../graph/edit.ts";
import type { Graph, Model, Node } from "../graph/model.ts";
import { inferShapes, type Shapes } from "../graph/shapes.ts";
import { byteSize } from "../graph/tensor.ts";
import { runOnce, type SessionOptions } from "../runtime/session.ts";

/** Which inputs of a node are parameters. */
const PARAMETERS: Readonly<Record<string, readonly number[]>> = {
  Conv: [1, 2],
  ConvTranspose: [1, 2],
  Gemm: [1, 2],
  MatMul: [1],
  BatchNormalization: [1, 2, 3, 4],
};

/** Operators that give something else each time, and those of quantised weights, which are left for the refusal of these. */
const NOT_FOLDED = /^(Random.*|Multinomial|Bernoulli|Dropout|.*uantize.*|.*Integer|QLinear.*)$/;

/** Results may be so much larger than the constants they are made of (a broadcast), or so many bytes whatever these are. */
const GROWTH = 4;
const SMALL = 2 ** 26;

/** Bytes of results that are computed in one session, so that no second copy of all weights is ever in memory. */
const AT_ONCE = 2 ** 28;

/** The model with computed parameters as initialisers of the same names; the same object where there are none. */
export async function foldConstants(model: Model, session: SessionOptions = {}): Promise<Model> {
  const { graph } = model;
  const targets = foldable(graph, inferShapes(model));
  if (targets.length === 0) return model;
  const initializers = new Map(graph.initializers);
  for (const group of inGroups(targets)) {
    // Nothing is to be rewritten for a single run.
    const found = await runOnce(extract(model, [], group), {}, { ...session, optimization: "disabled" });
    for (const [name, { type, dims, data }] of Object.entries(found)) {
      const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
      initializers.set(name, { name, type, dims, bytes });
    }
  }
  const nodes = graph.nodes.filter(({ outputs }) => !outputs.some((name) => initializers.has(name)));
  return { ...model, graph: prune({ ...graph, nodes, initializers }) };
}

interface Target {
  readonly name: string;
  readonly bytes: number;
}

/** Values that feed a parameter, made by nodes of constants alone; where such a node makes several values, all of them. */
function foldable(graph: Graph, shapes: Shapes): readonly Target[] {
  const sizes = constantSizes(graph);
  const known = constants(graph);
  const wanted = new Set(parametersOf(graph).filter((name) => !known.has(name)));
  const outputs = new Set(graph.outputs.map(({ name }) => name));
  return graph.nodes.flatMap((node) => {
    const made = node.outputs.filter(Boolean);
    if (!made.some((name) => wanted.has(name) && sizes.has(name)) || made.some((name) => outputs.has(name))) return [];
    const targets = made.map((name) => ({ name, bytes: sizeOf(shapes, name) ?? sizes.get(name)! }));
    return targets.every(({ name, bytes }) => bytes <= Math.max(SMALL, GROWTH * sizes.get(name)!)) ? targets : [];
  });
}

function parametersOf({ nodes }: Graph): readonly string[] {
  return nodes.flatMap(({ op, domain, inputs }) =>
    domain === "" && Object.hasOwn(PARAMETERS, op) ? PARAMETERS[op]!.map((i) => inputs[i] ?? "").filter(Boolean) : [],
  );
}

/** For each value that is computed of constants alone, the bytes of these. */
function constantSizes(graph: Graph): ReadonlyMap<string, number> {
  const sizes = new Map([...constants(graph)].map(([name, tensor]) => [name, tensor.bytes.length]));
  for (const node of graph.nodes) {
    const inputs = node.inputs.filter(Boolean).map((name) => sizes.get(name));
    if (!isFolded(node) || inputs.length === 0 || inputs.includes(undefined)) continue;
    const sum = inputs.reduce<number>((total, size) => total + size!, 0);
    for (const name of node.outputs.filter(Boolean)) if (!sizes.has(name)) sizes.set(name, sum);
  }
  return sizes;
}

const isFolded = (node: Node): boolean =>
  node.domain === "" && !NOT_FOLDED.test(node.op) && subgraphs(node).length === 0;

function sizeOf(shapes: Shapes, name: string): number | null {
  const { type, shape } = shapes.get(name) ?? { type: null, shape: null };
  const known = shape?.every((dim): dim is number => typeof dim === "number") ? (shape as readonly number[]) : null;
  return type === null || known === null ? null : byteSize(type, known);
}

function inGroups(targets: readonly Target[]): readonly (readonly string[])[] {
  const groups: { names: string[]; bytes: number }[] = [];
  for (const { name, bytes } of targets) {
    const last = groups.at(-1);
    if (last !== undefined && last.bytes + bytes <= AT_ONCE) {
      last.names.push(name);
      last.bytes += bytes;
    } else groups.push({ names: [name], bytes });
  }
  return groups.map(({ names }) => names);
}
