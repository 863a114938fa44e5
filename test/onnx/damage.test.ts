import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LowrankError } from "../../src/errors.ts";
import { decodeModel } from "../../src/onnx/decode.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import { MUTATIONS, mutate } from "../support/mutate.ts";
import { type GraphInit, model, node, richModel, serialise, smallNetwork, subgraph } from "./samples.ts";

/** Decodes, or throws the one kind of error that users are shown; true if it decodes. */
async function decodesOrRefuses(bytes: Uint8Array<ArrayBuffer>): Promise<boolean> {
  const decoded = await decodeModel(bytes).catch((error: unknown) => {
    if (error instanceof LowrankError && error.code === "bad-model" && error.message.length < 1000) return null;
    throw error;
  });
  // What was accepted can be written and read again.
  if (decoded) await decodeModel(encodeModel(decoded));
  return decoded !== null;
}

describe("damaged files are decoded or refused, nothing else", () => {
  const FILES = { small: serialise(smallNetwork()), rich: serialise(richModel()) };

  test.each(MUTATIONS)("%s", async (kind) => {
    const decoded = { yes: 0, no: 0 };
    for (const bytes of Object.values(FILES)) {
      for (let seed = 0; seed < 150; seed++)
        decoded[(await decodesOrRefuses(mutate(bytes, kind, seed))) ? "yes" : "no"]++;
    }
    // Cut files must never pass; for all others both outcomes occur, or the test would see only one path.
    expect(decoded.no).toBeGreaterThan(20);
    if (kind === "cut") expect(decoded.yes).toBe(0);
    else expect(decoded.yes).toBeGreaterThan(0);
  });

  test("random damage upon damage", async () => {
    const changes = fc.array(fc.tuple(fc.constantFrom(...MUTATIONS), fc.nat()), { minLength: 1, maxLength: 5 });
    const damaged = fc.asyncProperty(fc.constantFrom(...Object.values(FILES)), changes, async (bytes, list) => {
      const broken = list.reduce((now, [kind, seed]) => (now.length > 0 ? mutate(now, kind, seed) : now), bytes);
      await decodesOrRefuses(broken);
    });
    await fc.assert(damaged, { numRuns: 300 });
  });

  test("random bytes", async () => {
    const noise = fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
      await decodesOrRefuses(new Uint8Array(bytes));
    });
    await fc.assert(noise, { numRuns: 500 });
  });
});

describe("files made to do harm", () => {
  const nested = (depth: number) => {
    let graph: GraphInit = { node: [node("Constant", [], ["c"])] };
    for (let i = 0; i < depth; i++) graph = { node: [node("If", [], [`v${i}`], [subgraph("then_branch", graph)])] };
    return serialise(model(graph));
  };

  test("graphs inside graphs: 64 deep is read, more is refused", async () => {
    const deep = nested(64);
    expect(encodeModel(await decodeModel(deep))).toHaveLength(deep.length);
    for (const depth of [65, 70, 80, 150]) {
      await expect(decodeModel(nested(depth))).rejects.toMatchObject({ code: "bad-model" });
    }
    await expect(decodeModel(nested(65))).rejects.toThrow("more than 64 deep");
  });

  test("messages nested a hundred thousand deep", async () => {
    // graph { node { attribute { g { node { ... : the innermost first.
    const tags = [6, 5, 1].map((field) => (field << 3) | 2);
    const header: number[] = [];
    for (let i = 0; i < 100_000; i++) header.push(tags[i % 3]!, 0xff, 0xff, 0x3f);
    const bytes = Uint8Array.from([(7 << 3) | 2, 0xff, 0xff, 0x3f, ...header.slice(8), 0]);
    await expect(decodeModel(bytes)).rejects.toMatchObject({ code: "bad-model" });
    // The same with unknown groups.
    const groups = new Uint8Array(100_000).fill((30 << 3) | 3).map((byte, i) => (i % 2 ? 1 : byte));
    await expect(decodeModel(groups)).rejects.toMatchObject({ code: "bad-model" });
  });

  test("lengths that promise gigabytes", async () => {
    for (const field of [1, 5, 7, 8, 14]) {
      const bytes = Uint8Array.from([(field << 3) | 2, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3]);
      await expect(decodeModel(bytes)).rejects.toMatchObject({ code: "bad-model" });
    }
  });
});
