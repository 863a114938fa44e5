// Where a classifier's scores stand.

import { expect, test } from "vitest";
import { scoresOf } from "../../src/analyze/scores.ts";
import { int, node, valueInfo } from "../../src/graph/build.ts";
import type { Model } from "../../src/graph/model.ts";
import { smallClassifier } from "../support/nets.ts";

test("losses look at what goes into a last Softmax, and at the output itself where there is none", () => {
  const plain = smallClassifier();
  expect(scoresOf(plain).graph.outputs.map(({ name }) => name)).toEqual(["logits"]);
  const { graph } = plain;
  const soft: Model = {
    ...plain,
    graph: {
      ...graph,
      nodes: [...graph.nodes, node("Softmax", ["logits"], ["p"], { axis: int(1) })],
      outputs: [valueInfo("p", "float32", ["N", 10]), valueInfo("h", "float32", ["N", 64])],
    },
  };
  const scores = scoresOf(soft);
  expect(scores.graph.outputs.map(({ name }) => name)).toEqual(["logits"]);
  expect(scores.graph.nodes).toEqual(graph.nodes);
});
