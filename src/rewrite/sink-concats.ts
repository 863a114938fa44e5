// Moves activations and poolings from behind a Concat of convolutions into each branch, where the runtime makes an activation
// part of the convolution and a pooling leaves less to copy. Requires that nothing else sees the values in between; ensures
// the same outputs.

import { int, intAttribute } from "../graph/build.ts";
import { constants, consumers, freshName, producers, type Replacement, replaceNodes } from "../graph/edit.ts";
import type { Graph, Model, Node } from "../graph/model.ts";
import { isBare, isPlain } from "./channelwise.ts";

/** The model with every such Concat moved; the model itself where there is none. */
export function sinkConcats(model: Model): Model {
  const { graph } = model;
  const fresh = freshName(graph);
  const makers = producers(graph);
  const isSeenOnce = seenOnce(graph);
  const replacements = new Map<Node, Replacement>();
  for (const concat of graph.nodes) {
    if (concat.op !== "Concat" || concat.domain !== "" || intAttribute(concat, "axis", 0) !== 1) continue;
    const convs = concat.inputs.map((name) => makers.get(name));
    if (!convs.every((node) => node?.op === "Conv" && node.domain === "")) continue;
    if (new Set(convs).size < convs.length || !concat.inputs.every(isSeenOnce)) continue;
    const chain = bareChain(graph, concat.outputs[0]!);
    if (chain.length === 0) continue;
    for (const node of [concat, ...chain]) replacements.set(node, { nodes: [] });
    replacements.set(chain.at(-1)!, { nodes: branches(concat, chain, fresh) });
  }
  return replacements.size === 0 ? model : { ...model, graph: replaceNodes(graph, replacements) };
}

/** The activations and poolings that follow a value in a row, each the only one to see what is before it. */
export function bareChain(graph: Graph, value: string): readonly Node[] {
  const users = consumers(graph);
  const constant = constants(graph);
  const isSeenOnce = seenOnce(graph);
  const chain: Node[] = [];
  for (let end = value; isSeenOnce(end); end = chain.at(-1)!.outputs[0]!) {
    const next = users.get(end)![0]!;
    const numbers = next.inputs.slice(1).every((name) => name === "" || constant.has(name));
    if (!isPlain(next) || !isBare(next) || next.inputs[0] !== end || !numbers) break;
    chain.push(next);
  }
  return chain;
}

function seenOnce(graph: Graph): (value: string) => boolean {
  const users = consumers(graph);
  const outputs = new Set(graph.outputs.map(({ name }) => name));
  return (value) => users.get(value)?.length === 1 && !outputs.has(value);
}

function branches(concat: Node, chain: readonly Node[], fresh: (stem: string) => string): readonly Node[] {
  const ends: string[] = [];
  const nodes = concat.inputs.flatMap((start) => {
    let value = start;
    const branch = chain.map((node): Node => {
      const output = fresh(`${node.outputs[0]}_part`);
      const copy = {
        ...node,
        name: fresh(`${node.name}_part`),
        inputs: [value, ...node.inputs.slice(1)],
        outputs: [output, ...node.outputs.slice(1)],
      };
      value = output;
      return copy;
    });
    ends.push(value);
    return branch;
  });
  const joined = { ...concat, inputs: ends, outputs: [chain.at(-1)!.outputs[0]!], attributes: { axis: int(1) } };
  return [...nodes, joined];
}
