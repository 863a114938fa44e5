// Moves a Split of channels from behind a convolution into it: each part has a convolution of its own, with its part of the filters,
// and its copy of the activation in between. The runtime keeps convolutions' values in blocks of channels, which a Split makes it
// undo and do again. Requires that nothing else sees the values in between; ensures the same outputs.

import { intAttribute } from "../graph/build.ts";
import { constants, consumers, freshName, producers, prune, type Replacement, replaceNodes } from "../graph/edit.ts";
import type { Dim, Graph, Model, Node, Tensor } from "../graph/model.ts";
import type { Shapes } from "../graph/shapes.ts";
import { elementCount, rowsOf } from "../graph/tensor.ts";
import { isElementwise, isPlain } from "./channelwise.ts";

/** Channels that the runtime's kernels take together: a part of any other number is slower by itself. */
const BLOCK = 16;

/** The model with every such Split moved; the model itself where there is none. */
export function sinkSplits(model: Model, shapes: Shapes): Model {
  const { graph } = model;
  const fresh = freshName(graph);
  const finder = finderOf(graph, shapes);
  const replacements = new Map<Node, Replacement>();
  for (const split of graph.nodes) {
    const found = finder(split);
    if (found === null) continue;
    for (const node of [found.conv, ...found.between]) replacements.set(node, { nodes: [] });
    replacements.set(split, partsOf(split, found, fresh));
  }
  return replacements.size === 0 ? model : { ...model, graph: prune(replaceNodes(graph, replacements)) };
}

const fillsBlocks = (size: Dim | undefined): size is number =>
  typeof size === "number" && size > 0 && size % BLOCK === 0;

interface Found {
  readonly conv: Node;
  /** Of the activation, in graph order. */
  readonly between: readonly Node[];
  readonly sizes: readonly number[];
  readonly weight: Tensor;
  readonly bias: Tensor | null;
}

function finderOf(graph: Graph, shapes: Shapes): (split: Node) => Found | null {
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
    const sizes = split.outputs.map((name) => shapes.get(name)?.shape?.[1]);
    if (sizes.length < 2 || !sizes.every(fillsBlocks)) return null;
    return { conv, between: graph.nodes.filter((node) => between.has(node)), sizes, weight, bias };
  };
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
    const own = [weight, ...(bias === null ? [] : [bias])].map((tensor) =>
      rowsOf(tensor, start, count, fresh(`${tensor.name}_part`)),
    );
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
