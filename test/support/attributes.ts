// Attributes of nodes that only tests make.

import type { Attribute, Tensor } from "../../src/graph/model.ts";

export const floatList = (value: readonly number[]): Attribute => ({ kind: "floats", value });
export const tensorAttribute = (value: Tensor): Attribute => ({ kind: "tensor", value });
