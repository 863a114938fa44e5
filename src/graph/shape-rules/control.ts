// Operators with graphs inside: If, Loop, Scan. What they give is what their bodies give, as far as that is sure.

import { intsAttribute } from "../build.ts";
import type { Dim, Graph } from "../model.ts";
import { axisIn, type Call, input, int, type Rule, type Rules, UNKNOWN, type Value, value } from "./call.ts";

function body(call: Call, name: string): Graph | null {
  const attribute = call.node.attributes[name];
  return attribute?.kind === "graph" ? attribute.value : null;
}

/** What two values have in common. */
function common(a: Value, b: Value): Value {
  const type = a.type === b.type ? a.type : null;
  if (a.shape === null || b.shape === null || a.shape.length !== b.shape.length) return value(type, null);
  const shared = (x: readonly Dim[], y: readonly Dim[]) => x.map((dim, i) => (dim === y[i] ? dim : null));
  const elements = a.elements?.length === b.elements?.length ? a.elements && shared(a.elements, b.elements!) : null;
  return value(type, shared(a.shape, b.shape), elements);
}

/** Where the condition is known, the branch that is taken; else what both branches agree on. */
const branch: Rule = (call) => {
  const [condition] = input(call, 0).elements ?? [];
  const give = (name: string): readonly Value[] => {
    const graph = body(call, name);
    return graph === null ? [] : call.infer(graph, []);
  };
  if (typeof condition === "number") return give(condition === 0 ? "else_branch" : "then_branch");
  const otherwise = give("else_branch");
  return give("then_branch").map((each, i) => common(each, otherwise[i] ?? UNKNOWN));
};

/** How often a carried value may lose knowledge before none is claimed. */
const ROUNDS = 8;

/**
 * The body's outputs once its carried values stay as they are from turn to turn: what is known of them is weakened until
 * another turn changes nothing.
 */
function settle(
  start: readonly Value[],
  turn: (carried: readonly Value[]) => readonly Value[],
): { readonly carried: readonly Value[]; readonly outputs: readonly Value[] } {
  let carried = start;
  for (let round = 0; round < ROUNDS; round++) {
    const outputs = turn(carried);
    const next = carried.map((each, i) => common(each, outputs[i] ?? UNKNOWN));
    if (next.every((each, i) => JSON.stringify(each) === JSON.stringify(carried[i]))) return { carried, outputs };
    carried = next;
  }
  const unknown = start.map(() => UNKNOWN);
  return { carried: unknown, outputs: turn(unknown) };
}

/** Inputs M, cond, carried...; the body takes (i, cond, carried...) and gives (cond, carried..., scanned...). */
const loop: Rule = (call) => {
  const graph = body(call, "body");
  if (graph === null) return [];
  const start = call.inputs.slice(2);
  const { carried, outputs } = settle(start, (now) =>
    call.infer(graph, [value("int64", []), value("bool", []), ...now]).slice(1),
  );
  // A condition may end it before its count.
  const scanned = outputs.slice(start.length).map(({ type, shape }) => value(type, shape && [null, ...shape]));
  return [...carried, ...scanned];
};

/** From operator set 9 on: carried..., scanned inputs...; the body takes (carried..., slices...) and gives the like. */
const scan: Rule = (call) => {
  const graph = body(call, "body");
  if (graph === null || call.opset < 9) return [];
  const count = int(call, "num_scan_inputs", 0);
  const states = call.inputs.length - count;
  const axes = intsAttribute(call.node, "scan_input_axes", []);
  const outputAxes = intsAttribute(call.node, "scan_output_axes", []);
  let length: Dim = null;
  const slices = call.inputs.slice(states).map(({ type, shape }, i) => {
    if (shape === null) return value(type, null);
    const axis = axisIn(call, axes[i] ?? 0, shape.length);
    length = shape[axis] ?? length;
    return value(type, shape.toSpliced(axis, 1));
  });
  const start = call.inputs.slice(0, states);
  const { carried, outputs } = settle(start, (now) => call.infer(graph, [...now, ...slices]));
  const scanned = outputs.slice(states).map(({ type, shape }, i) => {
    if (shape === null) return value(type, null);
    return value(type, shape.toSpliced(axisIn(call, outputAxes[i] ?? 0, shape.length + 1), 0, length));
  });
  return [...carried, ...scanned];
};

export const CONTROL: Rules = { If: branch, Loop: loop, Scan: scan };
