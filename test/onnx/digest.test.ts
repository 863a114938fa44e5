import { afterEach, expect, test, vi } from "vitest";
import type { Model } from "../../src/graph/model.ts";
import { digest } from "../../src/memo.ts";
import { digestModel, encodedSize } from "../../src/onnx/digest.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import { normalTensor, smallClassifier } from "../support/nets.ts";

afterEach(() => vi.restoreAllMocks());

const withWeight = (source: Model, name: string, seed: number): Model => {
  const { dims } = source.graph.initializers.get(name)!;
  const initializers = new Map([...source.graph.initializers, [name, normalTensor(name, dims, seed)]]);
  return { ...source, graph: { ...source.graph, initializers } };
};

test("the same model has the same digest; any weight, attribute or name changes it", async () => {
  const source = smallClassifier();
  const [first, ...nodes] = source.graph.nodes;
  const others = [
    withWeight(source, "w3", 99),
    withWeight(source, "b4", 99),
    { ...source, graph: { ...source.graph, nodes: [{ ...first!, name: "other" }, ...nodes] } },
    { ...source, metadata: new Map([["a", "b"]]) },
  ];
  const digests = await Promise.all([source, smallClassifier(), ...others].map(digestModel));
  expect(digests[0]).toBe(digests[1]);
  expect(new Set(digests).size).toBe(5);
  expect(digests[0]).toMatch(/^[0-9a-f]{64}$/);
});

test("large weights are hashed as they lie in memory", async () => {
  const source = smallClassifier();
  const hashed: unknown[] = [];
  const original = crypto.subtle.digest.bind(crypto.subtle);
  vi.spyOn(crypto.subtle, "digest").mockImplementation((algorithm, data) => {
    hashed.push(data);
    return original(algorithm, data);
  });
  await digestModel(source);
  expect(hashed).toContain(source.graph.initializers.get("w3")!.bytes);
  const largest = Math.max(...hashed.map((data) => (data as Uint8Array).byteLength));
  expect(largest).toBe(4 * 64 * 512);
});

test("where one part ends and the next begins is part of a digest", async () => {
  expect(await digest(["ab", "c"])).not.toBe(await digest(["a", "bc"]));
  expect(await digest([new Uint8Array(0), "a"])).not.toBe(await digest(["a", new Uint8Array(0)]));
});

test("the encoded size is known without encoding", () => {
  const source = smallClassifier();
  expect(encodedSize(source)).toBe(encodeModel(source).byteLength);
});
