// Gives a Softmax over channels the pixels as one axis. The runtime has a fast way for three axes, and for more of them one that
// takes several times as long. Ensures the same outputs.

import { int, intAttribute, node } from "../graph/build.ts";
import { freshName, type Replacement, replaceNodes } from "../graph/edit.ts";
import type { Model, Node } from "../graph/model.ts";
import type { Shapes } from "../graph/shapes.ts";
import { intTensor } from "../graph/tensor.ts";

/** Since this operator set Softmax is over one axis; before, over all from there on. */
const ONE_AXIS = 13;

/** The model with every such Softmax flattened; the model itself where there is none. */
export function flattenSoftmax(model: Model, shapes: Shapes): Model {
  const { graph, opsets } = model;
  if ((opsets.get("") ?? 0) < ONE_AXIS) return model;
  const fresh = freshName(graph);
  const replacements = new Map<Node, Replacement>();
  for (const each of graph.nodes) {
    if ((each.op !== "Softmax" && each.op !== "LogSoftmax") || each.domain !== "") continue;
    if (intAttribute(each, "axis", -1) !== 1 || !hasPixels(shapes.get(each.inputs[0]!)?.shape ?? null)) continue;
    const [input, output] = [each.inputs[0]!, each.outputs[0]!];
    const [flat, done, shape] = ["flat", "flat_softmax", "shape"].map((stem) => fresh(`${output}_${stem}`));
    const sizes = intTensor(fresh(`${output}_pixels_as_one`), [0, 0, -1]);
    const nodes = [
      node("Reshape", [input, sizes.name], [flat!], {}, fresh(`${each.name}_flat`)),
      { ...each, inputs: [flat!], outputs: [done!], attributes: { axis: int(1) } },
      node("Shape", [input], [shape!], {}, fresh(`${each.name}_shape`)),
      node("Reshape", [done!, shape!], [output], {}, fresh(`${each.name}_back`)),
    ];
    replacements.set(each, { nodes, initializers: [sizes] });
  }
  return replacements.size === 0 ? model : { ...model, graph: replaceNodes(graph, replacements) };
}

/** Whether there are two axes or more behind the channels, of more than one entry in all. */
function hasPixels(shape: readonly unknown[] | null): boolean {
  return shape !== null && shape.length > 3 && shape.slice(2).some((dim) => dim !== 1);
}
