// Moves a Split of channels from behind a convolution into it: each part has a convolution of its own, with its part of the filters,
// and its copy of the activation in between. The runtime keeps convolutions' values in blocks of channels, which a Split makes it
// undo and do again. Requires that nothing else sees the values in between; ensures the same outputs.

import { intAttribute } from "../graph/build.ts";
import { constants, consumers, freshName, producers, prune, type Replacement, replaceNodes } from "../graph/edit.ts";
import type { Graph, Model, Node, Tensor } from "../graph/model.ts";
import { elementCount, floats, floatTensor, integers } from "../graph/tensor.ts";
import { isElementwise, isPlain } from "./channelwise.ts";

/** Channels that the runtime's kernels take together: a part of any other number is slower by itself. */
const BLOCK = 16;

/** The model with every such Split moved; the model itself where there is none. */
export function sinkSplits(model: Model): Model {
  const { graph } = model;
  const fresh = freshName(graph);
  const finder = finderOf(graph);
  const replacements = new Map<Node, Replacement>();
  for (const split of graph.nodes) {
    const found = finder(split);
    if (found === null) continue;
    for (const node of [found.conv, ...found.between]) replacements.set(node, { nodes: [] });
    replacements.set(split, partsOf(split, found, fresh));
  }
  return replacements.size === 0 ? model : { ...model, graph: prune(replaceNodes(graph, replacements)) };
}

interface Found {
  readonly conv: Node;
  /** Of the activation, in graph order. */
  readonly between: readonly Node[];
  readonly sizes: readonly number[];
  readonly weight: Tensor;
  readonly bias: Tensor | null;
}

function finderOf(graph: Graph): (split: Node) => Found | null {
  const constant = constants(graph);
  const users = consumers(graph);
  const makers = producers(graph);
  const outputs = new Set(graph.outputs.map(({ name }) => name));

  /** What makes a value: a convolution, and elements' own functions of what it gives. Null where there is anything else. */
  const madeOf = (value: string): { conv: Node; between: ReadonlySet<Node> } | null => {
    const [convs, between] = [new Set<Node>(), new Set<Node>()];
    const open = [value];
    for (let name = open.pop(); name !== undefined; name = open.pop()) {
      const maker = makers.get(name);
      if (maker?.op === "Conv" && maker.domain === "") {
        convs.add(maker);
        continue;
      }
      if (maker === undefined || !isPlain(maker) || !isElementwise(maker)) return null;
      between.add(maker);
      const inputs = maker.inputs.filter(Boolean);
      if (inputs.some((input) => elementCount(constant.get(input)?.dims ?? []) !== 1)) return null;
      open.push(...inputs.filter((input) => !constant.has(input)));
    }
    const [conv, ...others] = convs;
    return conv === undefined || others.length > 0 ? null : { conv, between };
  };

  return (split) => {
    const [value = ""] = split.inputs;
    if (split.op !== "Split" || split.domain !== "" || intAttribute(split, "axis", 0) !== 1) return null;
    const made = madeOf(value);
    if (made === null || users.get(value)!.length > 1) return null;
    const { conv, between } = made;
    const isInside = ({ outputs: [name = ""] }: Node) =>
      !outputs.has(name) && users.get(name)!.every((node) => node === split || between.has(node));
    if (![conv, ...between].every(isInside)) return null;
    const [, weight, bias = null] = conv.inputs.map((name) => constant.get(name) ?? null);
    if (weight?.type !== "float32" || intAttribute(conv, "group", 1) !== 1) return null;
    if (bias === null && (conv.inputs[2] ?? "") !== "") return null;
    const sizes = sizesOf(split, weight.dims[0]!, constant);
    if (sizes === null || sizes.length < 2 || sizes.some((size) => size % BLOCK !== 0)) return null;
    return { conv, between: graph.nodes.filter((node) => between.has(node)), sizes, weight, bias };
  };
}

/** Channels of each part; null where they are not known, or a part has none or no name. */
function sizesOf(
  { inputs, outputs, attributes }: Node,
  channels: number,
  constant: ReadonlyMap<string, Tensor>,
): readonly number[] | null {
  const parts = outputs.length;
  const [, name = ""] = inputs;
  const given = constant.get(name);
  if (outputs.includes("") || (name !== "" && given === undefined)) return null;
  const own = attributes.split?.kind === "ints" ? attributes.split.value.map(Number) : null;
  const sizes = given === undefined ? (own ?? Array.from({ length: parts }, () => channels / parts)) : integers(given);
  const sum = sizes.reduce((a, b) => a + b, 0);
  return sizes.length === parts && sum === channels && sizes.every((size) => size > 0) ? sizes : null;
}

function partsOf(
  split: Node,
  { conv, between, sizes, weight, bias }: Found,
  fresh: (stem: string) => string,
): Replacement {
  const initializers: Tensor[] = [];
  const inside = new Set([conv, ...between].flatMap(({ outputs }) => outputs));
  let start = 0;
  const nodes = sizes.flatMap((count, part) => {
    const own = [weight, ...(bias === null ? [] : [bias])].map((tensor) => rowsOf(tensor, start, count, fresh));
    initializers.push(...own);
    start += count;
    const names = new Map([[split.inputs[0]!, split.outputs[part]!]]);
    for (const name of inside) if (!names.has(name)) names.set(name, fresh(`${name}_part`));
    const inputsOf = (node: Node) =>
      node === conv
        ? [node.inputs[0]!, ...own.map(({ name }) => name)]
        : node.inputs.map((name) => names.get(name) ?? name);
    return [conv, ...between].map(
      (node): Node => ({
        ...node,
        name: fresh(`${node.name}_part`),
        inputs: inputsOf(node),
        outputs: node.outputs.map((name) => names.get(name)!),
      }),
    );
  });
  return { nodes, initializers };
}

/** Some of a tensor's rows, the first dimension's entries. */
function rowsOf(tensor: Tensor, start: number, count: number, fresh: (stem: string) => string): Tensor {
  const [rows = 1, ...rest] = tensor.dims;
  const size = elementCount(tensor.dims) / rows;
  const values = Float32Array.from(floats(tensor).subarray(start * size, (start + count) * size));
  return floatTensor(fresh(`${tensor.name}_part`), [count, ...rest], values);
}
