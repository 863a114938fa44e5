// The same network in a newer operator set, where newer operators are wanted beside its own.

import { subgraphs } from "./edit.ts";
import type { Graph, Model } from "./model.ts";

/** Operator sets from 13 on mean the same by all operators up to this one, but for those below. */
const FROM = 13;
const TO = 17;

/** RoiAlign measures from another corner since 16; BatchNormalization had other further outputs before 14. */
const CHANGED: ReadonlySet<string> = new Set(["RoiAlign"]);

/** The model in operator set 17 where that changes nothing but the number, else the model itself. */
export function inNewerOpset(model: Model): Model {
  const opset = model.opsets.get("") ?? 1;
  if (opset < FROM || opset >= TO || hasChanged(model.graph)) return model;
  return { ...model, irVersion: Math.max(model.irVersion, 8), opsets: new Map([...model.opsets, ["", TO]]) };
}

function hasChanged({ nodes }: Graph): boolean {
  return nodes.some((node) => {
    const { op, domain, outputs } = node;
    const standard = domain === "" && (CHANGED.has(op) || (op === "BatchNormalization" && outputs.length > 1));
    return standard || subgraphs(node).some(hasChanged);
  });
}
