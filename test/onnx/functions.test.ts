import { AttributeProto_AttributeType as Kind, TensorProto_DataType as Type } from "onnx-buf";
import { expect, test } from "vitest";
import { decodeModel } from "../../src/onnx/decode.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import { model, node, sameFile, serialise, value } from "./samples.ts";

const alpha = { name: "alpha", refAttrName: "slope", type: Kind.FLOAT };

const source = serialise(
  model(
    {
      name: "g",
      node: [{ ...node("leaky", ["x"], ["y"]), domain: "pkg.a", overload: "one", name: "call" }],
      input: [value("x", [3])],
      output: [value("y", [3], Type.FLOAT)],
    },
    {
      irVersion: 10n,
      functions: [
        {
          ...{ name: "leaky", domain: "pkg.a", overload: "one", input: ["a"], output: ["b"], docString: "kept" },
          attribute: ["unused"],
          attributeProto: [{ name: "slope", type: Kind.FLOAT, f: 0.5 }],
          opsetImport: [{ domain: "", version: 18n }],
          node: [node("LeakyRelu", ["a"], ["b"], [alpha])],
        },
      ],
    },
  ),
);

test("functions are read as plain data", async () => {
  const { functions, graph } = await decodeModel(source);
  expect(graph.nodes[0]).toMatchObject({ op: "leaky", domain: "pkg.a", overload: "one" });
  expect(functions).toHaveLength(1);
  expect(functions![0]).toMatchObject({
    ...{ name: "leaky", domain: "pkg.a", overload: "one", inputs: ["a"], outputs: ["b"] },
    defaults: { slope: { kind: "float", value: 0.5 } },
    opsets: new Map([["", 18]]),
  });
  const [inner] = functions![0]!.nodes;
  expect([inner!.op, inner!.attributes.alpha]).toMatchObject(["LeakyRelu", { kind: "reference", value: "slope" }]);
});

test("and written again as they were, or as they have become", async () => {
  const read = await decodeModel(source);
  expect(sameFile(encodeModel(read), source)).toBe(true);
  const renamed = { ...read, functions: read.functions!.map((each) => ({ ...each, outputs: ["c"] })) };
  expect((await decodeModel(encodeModel(renamed))).functions![0]!.outputs).toEqual(["c"]);
  const { functions: _, ...without } = read;
  expect((await decodeModel(encodeModel(without))).functions).toBeUndefined();
});
