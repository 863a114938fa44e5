import { TensorProto_DataLocation, TensorProto_DataType as Type } from "onnx-buf";
import { describe, expect, test } from "vitest";
import type { Model, Tensor } from "../../src/graph/model.ts";
import { decodeModel } from "../../src/onnx/decode.ts";
import { encodeExternal, encodeModel, PROTOBUF_LIMIT } from "../../src/onnx/encode.ts";
import { checkLocation, type ExternalReader, memoryReader } from "../../src/onnx/external.ts";
import { concat } from "../support/mutate.ts";
import {
  type Bytes,
  canonical,
  model,
  node,
  parse,
  richModel,
  serialise,
  smallNetwork,
  type TensorInit,
} from "./samples.ts";

const entry = (key: string, value: string) => ({ key, value });

function externalTensor(
  name: string,
  more: Partial<TensorInit> = {},
  entries: Record<string, string> = {},
): TensorInit {
  const all = { location: "weights.bin", ...entries };
  return {
    name,
    dataType: Type.FLOAT,
    dims: [2n],
    dataLocation: TensorProto_DataLocation.EXTERNAL,
    externalData: Object.entries(all).map(([key, value]) => entry(key, value)),
    ...more,
  };
}

const file: Bytes = Uint8Array.from({ length: 64 }, (_, i) => i);
const external = memoryReader(
  new Map([
    ["weights.bin", file],
    ["deep/er.bin", file],
  ]),
);
const decode = (...initializer: TensorInit[]) => decodeModel(serialise(model({ initializer })), { external });

describe("reading", () => {
  test("location, offset and length", async () => {
    const { graph } = await decode(
      externalTensor("whole", { dims: [16n] }),
      externalTensor("part", {}, { offset: "8", length: "8" }),
      externalTensor("rest", { dims: [2n], dataType: Type.FLOAT16 }, { offset: "60" }),
      externalTensor("deep", {}, { location: "./deep/../deep/er.bin", checksum: "0" }),
      externalTensor("empty", { dims: [0n] }, { offset: "64" }),
    );
    const bytes = (name: string) => [...graph.initializers.get(name)!.bytes];
    expect(bytes("whole")).toEqual([...file]);
    expect(bytes("part")).toEqual([8, 9, 10, 11, 12, 13, 14, 15]);
    expect(bytes("rest")).toEqual([60, 61, 62, 63]);
    expect(bytes("deep")).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(bytes("empty")).toEqual([]);
    expect(graph.initializers.get("part")!.bytes.buffer).toBe(file.buffer);
  });

  test("in every place where a tensor may stand; written again, all data is inside", async () => {
    const inner = externalTensor("c");
    const bytes = serialise(
      model(
        {
          node: [
            node(
              "Constant",
              [],
              ["c"],
              [
                { name: "value", t: inner },
                { name: "list", tensors: [inner] },
              ],
            ),
          ],
          sparseInitializer: [
            { values: externalTensor("s"), indices: externalTensor("", { dataType: Type.INT64, dims: [1n] }) },
          ],
        },
        { functions: [{ node: [node("Constant", [], ["c"], [{ name: "value", t: inner }])] }] },
      ),
    );
    const written = encodeModel(await decodeModel(bytes, { external }));
    expect(JSON.stringify(parse(written), (_, value) => (typeof value === "bigint" ? 0 : value))).not.toContain(
      "weights",
    );
    const { graph, functions } = parse(written);
    expect(graph!.sparseInitializer[0]!.values!.rawData).toEqual(file.slice(0, 8));
    expect(functions[0]!.node[0]!.attribute[0]!.t!.rawData).toEqual(file.slice(0, 8));
    expect(canonical(encodeModel(await decodeModel(written)))).toBe(canonical(written));
  });

  const REFUSED: readonly [string, TensorInit, RegExp][] = [
    ["a missing file", externalTensor("w", {}, { location: "other.bin" }), /"other.bin" was not given/],
    ["past the end", externalTensor("w", {}, { offset: "60" }), /has 64 bytes; the model expects 8 from byte 60 on/],
    [
      "a length that is not the shape's",
      externalTensor("w", {}, { length: "12" }),
      /12 bytes in "weights.bin"; float32 \[2\] takes 8/,
    ],
    [
      "more than the file has",
      externalTensor("w", { dims: [10n ** 5n, 10n ** 5n] }),
      /expects 40000000000 from byte 0/,
    ],
    ["an impossible shape", externalTensor("w", { dims: [10n ** 9n, 10n ** 9n] }), /impossible shape/],
    ["a negative offset", externalTensor("w", {}, { offset: "-8" }), /offset "-8"; expected a whole number/],
    ["an endless offset", externalTensor("w", {}, { offset: "9".repeat(30) }), /expected a whole number/],
    ["no location", externalTensor("w", { externalData: [] }), /location "" is empty/],
    ["strings", externalTensor("w", { dataType: Type.STRING }), /strings must be in the model/],
    ["a way out", externalTensor("w", {}, { location: "../weights.bin" }), /leaves the model's folder/],
  ];
  test.each(REFUSED)("refuses %s", async (_, tensor, expected) => {
    await expect(decode(tensor)).rejects.toThrow(expected);
    await expect(decode(tensor)).rejects.toMatchObject({ code: "bad-model" });
  });

  test("asks for no more bytes than the shape needs, and checks what it gets", async () => {
    const asked: unknown[] = [];
    const short: ExternalReader = {
      async read(...request) {
        asked.push(request);
        return new Uint8Array(3);
      },
    };
    const bytes = serialise(model({ initializer: [externalTensor("w")] }));
    await expect(decodeModel(bytes, { external: short })).rejects.toThrow(/gave 3 bytes for tensor "w"; expected 8/);
    expect(asked).toEqual([["weights.bin", 0, 8]]);
    await expect(decodeModel(bytes)).rejects.toThrow(/has its data in the file "weights.bin", which was not given/);
  });
});

describe("locations", () => {
  test.each([
    ["w.bin", "w.bin"],
    ["a/b.bin", "a/b.bin"],
    ["./a//b.bin", "a/b.bin"],
    ["a/../b.bin", "b.bin"],
    ["..data", "..data"],
    ["ümlaut file", "ümlaut file"],
  ])("%j is %j", (location, clean) => {
    expect(checkLocation(location)).toBe(clean);
  });

  test.each([
    "",
    "/etc/passwd",
    "//host/share",
    "..",
    "../w.bin",
    "a/../../w.bin",
    "a/b/../../../w.bin",
    "a\\..\\..\\w.bin",
    "\\\\host\\share",
    "C:/w.bin",
    "c:w.bin",
    "w.bin\0.txt",
    ".",
    "a/..",
    "folder/",
  ])("%j is refused", (location) => {
    expect(() => checkLocation(location)).toThrow(/expected a path inside the model's folder/);
  });
});

describe("writing", () => {
  const decoded = () => decodeModel(serialise(richModel()));

  test("encodeExternal and back give the same model, and large tensors are aligned", async () => {
    const source = await decoded();
    const big: Tensor = { name: "big", type: "uint8", dims: [2 ** 20], bytes: new Uint8Array(2 ** 20).fill(7) };
    const initializers = new Map(source.graph.initializers).set("big", big).set("more", { ...big, name: "more" });
    const original: Model = { ...source, graph: { ...source.graph, initializers } };
    const { bytes, data } = encodeExternal(original, "all.data", 16);
    const placed = parse(bytes).graph!.initializer.filter(({ externalData }) => externalData.length > 0);
    const place = new Map(
      placed.map(({ name, externalData }) => [name, new Map(externalData.map(({ key, value }) => [key, value]))]),
    );
    expect(bytes.length).toBeLessThan(20_000);
    expect(place.get("big")!.get("location")).toBe("all.data");
    expect(Number(place.get("big")!.get("offset")) % 4096).toBe(0);
    for (const entries of place.values()) expect(Number(entries.get("offset")) % 64).toBe(0);
    expect(place.size).toBeGreaterThan(5);
    // Weights are not copied.
    expect(data).toContain(big.bytes);
    const files = memoryReader(new Map([["all.data", concat(data)]]));
    const back = await decodeModel(bytes, { external: files });
    for (const [name, tensor] of initializers) {
      const { type, dims, bytes: read, strings } = back.graph.initializers.get(name)!;
      expect({ type, dims, strings, equal: Buffer.compare(read, tensor.bytes) }).toEqual({
        type: tensor.type,
        dims: tensor.dims,
        strings: tensor.strings,
        equal: 0,
      });
    }
    expect(back.graph.nodes).toEqual(original.graph.nodes);
  });

  test("refuses locations that could not be read back", async () => {
    const network = await decodeModel(serialise(smallNetwork()));
    expect(() => encodeExternal(network, "/abs")).toThrow(/is absolute/);
  });

  test("tensors that are chunks of their own are written as others are", async () => {
    const network = await decodeModel(serialise(smallNetwork()));
    const tensor: Tensor = { name: "w1", type: "uint8", dims: [50_000], bytes: new Uint8Array(50_000).fill(3) };
    const initializers = new Map(network.graph.initializers).set("w1", tensor);
    const bytes = encodeModel({ ...network, graph: { ...network.graph, initializers } });
    expect(canonical(bytes)).toBe(Buffer.from(bytesOf(bytes)).toString("base64"));
    expect((await decodeModel(bytes)).graph.initializers.get("w1")!.bytes).toEqual(tensor.bytes);
  });

  test("over 2 GiB: encodeModel says what to do, encodeExternal does it without copying", async () => {
    const network = await decodeModel(serialise(smallNetwork()));
    // One untouched gigabyte, named three times: the pages are never made.
    const gigabyte = new Uint8Array(2 ** 30);
    const initializers = new Map(network.graph.initializers);
    for (const name of ["one", "two", "three"]) {
      initializers.set(name, { name, type: "uint8", dims: [2 ** 30], bytes: gigabyte });
    }
    const large: Model = { ...network, graph: { ...network.graph, initializers } };
    expect(() => encodeModel(large)).toThrow(/takes 3\.00 GiB.*encodeExternal/);
    const { bytes, data } = encodeExternal(large, "large.data");
    expect(bytes.length).toBeLessThan(10_000);
    expect(data.filter((chunk) => chunk === gigabyte)).toHaveLength(3);
    expect(data.reduce((sum, chunk) => sum + chunk.length, 0)).toBeGreaterThan(PROTOBUF_LIMIT);
  });
});

/** The file in protobuf's own order of fields. */
function bytesOf(bytes: Uint8Array): Uint8Array {
  return serialise(parse(bytes));
}
