// Models whose weights are quantised already: low-rank factors are made of the weights before.

import { LowrankError } from "../errors.ts";
import { subgraphs } from "../graph/edit.ts";
import type { Graph, Model, Node } from "../graph/model.ts";

/** Operators of quantised networks, in QDQ and in QOperator form, of the standard domain and ONNX Runtime's own. */
const QUANTISED: ReadonlySet<string> = new Set([
  ...["QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"],
  ...["QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"],
]);
const OWN =
  /^(QLinear|QGemm|QAttention|QEmbed|QMoE|NhwcQLinear|Quantize|Dequantize|Dynamic(Quantize|LSTM)|MatMulInteger|MatMul(NBits|Bnb4|Fp)|GatherBlockQuantized)/;

/** One sentence that names the first quantised node; null where there is none. */
export function whyQuantised({ graph }: Model): string | null {
  const found = firstQuantised(graph);
  if (found === null) return null;
  const { op, name, outputs } = found;
  return `the model is quantised (${op} ${name || (outputs[0] ?? "")}): compress the model that it was made from, then quantise the result`;
}

/** @throws LowrankError `unsupported` for a quantised model */
export function refuseQuantised(model: Model): void {
  const why = whyQuantised(model);
  if (why === null) return;
  const { op, name, outputs } = firstQuantised(model.graph)!;
  throw new LowrankError("unsupported", why, { node: name || (outputs[0] ?? ""), op });
}

function firstQuantised({ nodes }: Graph): Node | null {
  for (const node of nodes) {
    if (node.domain === "" ? QUANTISED.has(node.op) : node.domain === "com.microsoft" && OWN.test(node.op)) return node;
    for (const body of subgraphs(node)) {
      const inside = firstQuantised(body);
      if (inside !== null) return inside;
    }
  }
  return null;
}
