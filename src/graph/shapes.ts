// provisional
import { intAttribute, intsAttribute } from "./build.ts";
import { convGeometry } from "./conv.ts";
import { constants } from "./edit.ts";
import type { Dim, ElementType, Model } from "./model.ts";
import { integers } from "./tensor.ts";
export interface Shape { readonly type: ElementType | null; readonly shape: readonly Dim[] | null }
export type Shapes = ReadonlyMap<string, Shape>;
export function inferShapes(model: Model, given: Readonly<Record<string, readonly Dim[]>> = {}): Shapes {
  const out = new Map<string, Shape>();
  const known = constants(model.graph);
  for (const i of model.graph.inputs) out.set(i.name, { type: i.type, shape: given[i.name] ?? i.shape });
  for (const [name, t] of known) out.set(name, { type: t.type, shape: t.dims });
  for (const n of model.graph.nodes) {
    const a = out.get(n.inputs[0] ?? ""), b = out.get(n.inputs[1] ?? "");
    const A = a?.shape, B = b?.shape;
    let shape: readonly Dim[] | null = A ?? null;
    if (n.op === "Conv" && A && B) shape = [A[0]!, B[0]!, ...convGeometry(n, B.slice(2) as number[], A.slice(2)).output];
    else if (/Pool$/.test(n.op) && n.op.startsWith("Global") && A) shape = [A[0]!, A[1]!, ...A.slice(2).map(() => 1)];
    else if (/Pool$/.test(n.op) && A) shape = [A[0]!, A[1]!, ...convGeometry(n, intsAttribute(n, "kernel_shape") as number[], A.slice(2)).output];
    else if (n.op === "Gemm" && A && B) shape = [A[0]!, intAttribute(n, "transB", 0) ? B[0]! : B[1]!];
    else if (n.op === "MatMul" && A && B) shape = [...A.slice(0, -1), B.at(-1)!];
    else if (n.op === "Flatten" && A) shape = [A[0]!, A.slice(1).reduce((p: number, d) => p * (d as number), 1)];
    else if (n.op === "Reshape" && A) { const t = known.get(n.inputs[1]!); const dims = t ? integers(t) : null; const total = A.reduce((p: number, d) => p * (d as number), 1); shape = dims ? (() => { const r = dims.map((d, i) => d === 0 ? A[i] as number : d); const rest = r.filter((d) => d > 0).reduce((p, d) => p * d, 1); return r.map((d) => d === -1 ? total / rest : d); })() : null; }
    else if (n.op === "ReduceMean" && A) { const axes = (intsAttribute(n, "axes") ?? []).map((x) => (x + A.length) % A.length); shape = intAttribute(n, "keepdims", 1) ? A.map((d, i) => axes.includes(i) ? 1 : d) : A.filter((_, i) => !axes.includes(i)); }
    for (const o of n.outputs) out.set(o, { type: a?.type ?? null, shape });
  }
  return out;
}
