// What stands for a layer in a written network, as plain data: the nodes between the last values before it and the first value after
// it that the original has as well. Passes that look across layers may have moved its borders into its neighbours.

import { nodeMacs } from "../analyze/costs.ts";
import { intAttribute, intsAttribute } from "../graph/build.ts";
import { constants, consumers, producers } from "../graph/edit.ts";
import type { Graph, Model, Node, Tensor } from "../graph/model.ts";
import { type GivenShapes, inferShapes, type Shapes } from "../graph/shapes.ts";
import type { StageDetails, StagesDetails } from "./html-details.ts";

/** Parts of more nodes than this show nothing to anybody. */
const MOST_NODES = 400;

interface Network {
  readonly graph: Graph;
  readonly shapes: Shapes;
  readonly samples: number;
  readonly makers: ReadonlyMap<string, Node>;
  readonly users: ReadonlyMap<string, readonly Node[]>;
  readonly constant: ReadonlyMap<string, Tensor>;
}

/**
 * Looks up layers by their input and output in the original.
 * @param inputShapes of a run of so many samples
 * @returns null for a layer after which the two networks have no value in common
 */
export function stagesFinder(
  original: Model,
  written: Model,
  inputShapes: GivenShapes,
  samples = 1,
): (layer: { readonly output: string }) => StagesDetails | null {
  const [first, second] = [original, written].map((model) => networkOf(model, inputShapes, samples)) as [
    Network,
    Network,
  ];
  const shared = sharedValues(first, second);
  return ({ output }) => {
    const end = firstShared(first, output, shared);
    const after = end === null ? null : between(second, end, shared);
    if (end === null || after === null) return null;
    const starts = new Set(after.flatMap(({ inputs }) => inputs.filter((name) => shared.has(name))));
    const before = between(first, end, starts);
    if (before === null || before.length === 0 || after.length === 0) return null;
    return {
      before: before.map((node) => stageDetails(node, first)),
      after: after.map((node) => stageDetails(node, second)),
    };
  };
}

function networkOf(model: Model, inputShapes: GivenShapes, samples: number): Network {
  const { graph } = model;
  const shapes = inferShapes(model, inputShapes);
  return { graph, shapes, samples, makers: producers(graph), users: consumers(graph), constant: constants(graph) };
}

/** Values that both networks make, or take as input. */
function sharedValues(first: Network, second: Network): ReadonlySet<string> {
  const values = ({ graph, makers, constant }: Network) =>
    [...graph.inputs.map(({ name }) => name), ...makers.keys()].filter((name) => !constant.has(name));
  const other = new Set(values(second));
  return new Set(values(first).filter((name) => other.has(name)));
}

/** The first value from `output` on, breadth first, that is shared. */
function firstShared({ users }: Network, output: string, shared: ReadonlySet<string>): string | null {
  const open = [output];
  const seen = new Set(open);
  for (const value of open) {
    if (shared.has(value)) return value;
    for (const next of (users.get(value) ?? []).flatMap(({ outputs }) => outputs)) {
      if (!seen.has(next)) open.push(next);
      seen.add(next);
    }
  }
  return null;
}

/** The nodes that make `end` from `starts`, in the graph's order; null where they are too many. */
function between(
  { graph, makers, constant }: Network,
  end: string,
  starts: ReadonlySet<string>,
): readonly Node[] | null {
  const found = new Set<Node>();
  const open = [end];
  for (const value of open) {
    const node = makers.get(value);
    if (node === undefined || constant.has(value) || found.has(node)) continue;
    found.add(node);
    if (found.size > MOST_NODES) return null;
    open.push(...node.inputs.filter((name) => name !== "" && !starts.has(name)));
  }
  return graph.nodes.filter((node) => found.has(node));
}

function stageDetails(node: Node, { constant, shapes, samples }: Network): StageDetails {
  // A product may have its weight on the left.
  const [left, right] = node.inputs.map((name) => constant.get(name)?.dims);
  const weight = (WEIGHTED.has(node.op) ? (right ?? left) : null) ?? null;
  const group = node.op === "Conv" ? intAttribute(node, "group", 1) : 1;
  const shape = shapes.get(node.outputs[0] ?? "")?.shape?.slice(1);
  return {
    op: node.op,
    inputs: node.inputs.filter((name) => name !== "" && !constant.has(name)),
    outputs: node.outputs,
    weight,
    channels: weight === null ? null : channelsOf(node, weight, group, right === undefined),
    group,
    strides: node.op === "Conv" ? intsAttribute(node, "strides", [1, 1]) : [],
    dilations: node.op === "Conv" ? intsAttribute(node, "dilations", [1, 1]) : [],
    shape: shape?.every((dim) => typeof dim === "number") ? shape : null,
    macs: nodeMacs(node, shapes) / samples,
  };
}

const WEIGHTED: ReadonlySet<string> = new Set(["Conv", "Gemm", "MatMul"]);

function channelsOf(node: Node, weight: readonly number[], group: number, left: boolean): readonly [number, number] {
  const [a = 0, b = 0] = weight;
  if (node.op === "Conv") return [b * group, a];
  if (left) return [b, a];
  return node.op === "Gemm" && intAttribute(node, "transB", 0) === 1 ? [b, a] : [a, b];
}
