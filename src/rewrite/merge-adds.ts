// Merges Add of a constant followed by Add of a constant, as a product with a bias of its own leaves it in front of the bias
// that the exporter had kept apart. Requires that nothing else sees the value in between; ensures the same outputs up to
// rounding.

import { constants, consumers, freshName, prune, replaceNodes } from "../graph/edit.ts";
import type { Model, Node, Tensor } from "../graph/model.ts";
import { elementCount, floats, floatTensor } from "../graph/tensor.ts";

/** The model with such pairs merged, all of a chain in one pass; the model itself where there are none. */
export function mergeAdds(model: Model): Model {
  const { graph } = model;
  const constant = constants(graph);
  const users = consumers(graph);
  const outputs = new Set(graph.outputs.map(({ name }) => name));
  const fresh = freshName(graph);
  const replacements = new Map<Node, { nodes: Node[]; initializers?: Tensor[] }>();
  for (const first of graph.nodes) {
    const value = first.outputs[0] ?? "";
    const next = users.get(value) ?? [];
    if (replacements.has(first) || next.length !== 1 || outputs.has(value)) continue;
    const [a, b] = [constantTerm(first, constant), constantTerm(next[0]!, constant)];
    if (a === null || b === null || replacements.has(next[0]!)) continue;
    const sum = sumOf(a.term, b.term, fresh(`${b.term.name}_merged`));
    if (sum === null) continue;
    const merged = { ...next[0]!, inputs: [a.other, sum.name] };
    replacements.set(first, { nodes: [] });
    replacements.set(next[0]!, { nodes: [merged], initializers: [sum] });
  }
  if (replacements.size === 0) return model;
  return { ...model, graph: prune(replaceNodes(graph, replacements)) };
}

/** The constant that an Add adds and what it adds it to; null for any other node. */
function constantTerm({ op, domain, inputs }: Node, constant: ReadonlyMap<string, Tensor>) {
  if (op !== "Add" || domain !== "") return null;
  const index = inputs.findIndex((name) => constant.get(name)?.type === "float32");
  return index < 0 ? null : { term: constant.get(inputs[index]!)!, other: inputs[1 - index]! };
}

/** The sum of two vectors along the last axis, or of a vector and a number; null for other shapes. */
function sumOf(a: Tensor, b: Tensor, name: string): Tensor | null {
  const isVector = ({ dims }: Tensor) => elementCount(dims) === (dims.at(-1) ?? 1);
  const [long, short] = elementCount(a.dims) >= elementCount(b.dims) ? [a, b] : [b, a];
  const count = elementCount(short.dims);
  if (!isVector(a) || !isVector(b) || (count !== 1 && count !== elementCount(long.dims))) return null;
  const [x, y] = [floats(long), floats(short)];
  const dims = long.dims.length >= short.dims.length ? long.dims : [...short.dims.slice(0, -1), ...long.dims.slice(-1)];
  return floatTensor(
    name,
    dims,
    Float32Array.from(x, (value, i) => value + y[count === 1 ? 0 : i]!),
  );
}
