import { spawnSync } from "node:child_process";
import { link, mkdir, mkdtemp, readdir, readFile, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TensorProto_DataLocation, TensorProto_DataType as Type } from "onnx-buf";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  readModelFile,
  readModelFiles,
  stageModelFile,
  writeAtomically,
  writeModelFile,
} from "../../src/data/model-file.node.ts";
import type { Model } from "../../src/graph/model.ts";
import { decodeModel } from "../../src/onnx/decode.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import { model, parse, richModel, sameFile, serialise, smallNetwork, type TensorInit, text } from "../onnx/samples.ts";

let folder: string;
const at = (...parts: string[]) => join(folder, ...parts);
const names = async () => (await readdir(folder)).sort();

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "model-file-"));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

const network = () => decodeModel(serialise(smallNetwork()));
const EXTERNAL = { inlineLimit: 100 };

/** The network with its first weights replaced by `count` bytes. */
async function heavy(count: number): Promise<Model> {
  const base = await network();
  const bytes = Uint8Array.from({ length: count }, (_, i) => i % 251);
  const initializers = new Map(base.graph.initializers).set("w1", { name: "w1", type: "uint8", dims: [count], bytes });
  return { ...base, graph: { ...base.graph, initializers } };
}

describe("reading and writing", () => {
  test("a model in one file", async () => {
    await writeModelFile(at("net.onnx"), await decodeModel(serialise(richModel())));
    expect(await names()).toEqual(["net.onnx"]);
    const back = await readModelFile(at("net.onnx"));
    expect(parse(encodeModel(back))).toEqual(parse(serialise(richModel())));
    expect(sameFile(await readFile(at("net.onnx")), serialise(richModel()))).toBe(true);
  });

  test("a model in two files", async () => {
    const original = await heavy(5000);
    await writeModelFile(at("net.onnx"), original, EXTERNAL);
    expect(await names()).toEqual(["net.onnx", "net.onnx.data"]);
    const { model: back, files } = await readModelFiles(at("net.onnx"));
    expect(files).toEqual([at("net.onnx"), at("net.onnx.data")]);
    const weights = back.graph.initializers.get("w1")!;
    expect(weights.bytes).toEqual(original.graph.initializers.get("w1")!.bytes);
    // Read straight into a buffer of its own.
    expect(weights.bytes.buffer.byteLength).toBe(5000);
    // Written again, it is one file.
    await writeModelFile(at("again.onnx"), back);
    expect((await readModelFile(at("again.onnx"))).graph.initializers.get("w1")!.bytes).toEqual(weights.bytes);
  });

  test("over an older model of two files", async () => {
    await writeModelFile(at("net.onnx"), await heavy(5000), EXTERNAL);
    await writeModelFile(at("net.onnx"), await heavy(7000), EXTERNAL);
    expect(await names()).toEqual(["net.onnx", "net.onnx.data"]);
    expect((await readModelFile(at("net.onnx"))).graph.initializers.get("w1")!.dims).toEqual([7000]);
  });

  test("other outputs", async () => {
    await writeAtomically(at("plan.json"), "{}");
    await writeAtomically(at("plan.json"), "[ü]");
    await writeAtomically(at("bytes"), new Uint8Array([1]));
    await writeAtomically(at("chunks"), [new Uint8Array([1]), new Uint8Array([2, 3])]);
    expect(await readFile(at("plan.json"), "utf8")).toBe("[ü]");
    expect([...(await readFile(at("chunks")))]).toEqual([1, 2, 3]);
    expect(await names()).toEqual(["bytes", "chunks", "plan.json"]);
  });
});

describe("a stage", () => {
  test("can be read before it is committed, and only then takes its place", async () => {
    for (const options of [{}, EXTERNAL]) {
      const stage = await stageModelFile(at("net.onnx"), await heavy(5000), options);
      expect((await readModelFile(stage.path)).graph.initializers.get("w1")!.dims).toEqual([5000]);
      expect(await names()).not.toContain("net.onnx");
      await stage.commit();
      await stage.discard();
      expect(await readModelFile(at("net.onnx"))).toBeDefined();
      await rm(at("net.onnx"));
    }
    expect(await names()).toEqual(["net.onnx.data"]);
  });

  test("leaves nothing when it is discarded", async () => {
    await writeFile(at("net.onnx"), "old");
    const stage = await stageModelFile(at("net.onnx"), await network(), EXTERNAL);
    await stage.discard();
    expect(await names()).toEqual(["net.onnx"]);
    expect(await readFile(at("net.onnx"), "utf8")).toBe("old");
  });

  test("goes with a process that ends before it is committed", async () => {
    const here = (path: string) => new URL(path, import.meta.url).href;
    const script = `
      const { readModelFile, stageModelFile } = await import(${JSON.stringify(here("../../src/data/model-file.node.ts"))});
      const { existsSync } = await import("node:fs");
      const stage = await stageModelFile("out.onnx", await readModelFile("net.onnx"));
      console.log(existsSync(stage.path));
      process.exit(3);`;
    await writeFile(at("net.onnx"), serialise(smallNetwork()));
    const loader = ["--import", here("../../node_modules/tsx/dist/loader.mjs"), "-C", "source"];
    const args = [...loader, "--input-type=module", "-e", script];
    const { status, stdout } = spawnSync(process.execPath, args, { cwd: folder, encoding: "utf8" });
    expect([status, stdout]).toEqual([3, "true\n"]);
    expect(await names()).toEqual(["net.onnx"]);
  });

  test("a commit that fails half-way puts the older weights back", async () => {
    await writeModelFile(at("net.onnx"), await heavy(5000), EXTERNAL);
    const before = await readFile(at("net.onnx.data"));
    const stage = await stageModelFile(at("net.onnx"), await heavy(7000), EXTERNAL);
    await rm(stage.path);
    await expect(stage.commit()).rejects.toMatchObject({
      code: "bad-option",
      message: expect.stringMatching(/cannot write .*net.onnx: no such file/),
    });
    await stage.discard();
    expect(await names()).toEqual(["net.onnx", "net.onnx.data"]);
    expect(await readFile(at("net.onnx.data"))).toEqual(before);
    expect((await readModelFile(at("net.onnx"))).graph.initializers.get("w1")!.dims).toEqual([5000]);
  });
});

describe("an output is written whole or not at all", () => {
  test("never over an input: not by its name, another path, or a link", async () => {
    await writeFile(at("in.onnx"), serialise(smallNetwork()));
    await link(at("in.onnx"), at("hard.onnx"));
    await symlink(at("in.onnx"), at("soft.onnx"));
    await symlink(folder, at("self"));
    const input = await network();
    for (const path of [
      at("in.onnx"),
      at("hard.onnx"),
      at("soft.onnx"),
      at("self", "in.onnx"),
      `${folder}/./in.onnx`,
    ]) {
      const writing = writeModelFile(path, input, { protect: [at("in.onnx")] });
      await expect(writing).rejects.toMatchObject({
        code: "bad-option",
        message: expect.stringContaining("is the input"),
      });
      await expect(writeAtomically(path, "x", { protect: [at("in.onnx")] })).rejects.toThrow(/is the input/);
    }
    await expect(writeModelFile(at("in.onnx"), input, { protect: [at("soft.onnx")] })).rejects.toThrow(/is the input/);
    expect(await readFile(at("in.onnx"))).toEqual(Buffer.from(serialise(smallNetwork())));
    expect(await names()).toEqual(["hard.onnx", "in.onnx", "self", "soft.onnx"]);
  });

  test("nor over an input's weights", async () => {
    await writeModelFile(at("in.onnx"), await heavy(5000), EXTERNAL);
    await rm(at("out.onnx.data"), { force: true });
    await link(at("in.onnx.data"), at("out.onnx.data"));
    const { model: input, files } = await readModelFiles(at("in.onnx"));
    const writing = writeModelFile(at("out.onnx"), input, { ...EXTERNAL, protect: files });
    await expect(writing).rejects.toThrow(/out.onnx.data: it is the input .*in.onnx.data/);
  });

  test("an input that comes to stand at the target before the commit is safe too", async () => {
    const stage = await stageModelFile(at("out.onnx"), await network(), { protect: [at("in.onnx")] });
    await writeFile(at("in.onnx"), "precious");
    await link(at("in.onnx"), at("out.onnx"));
    await expect(stage.commit()).rejects.toThrow(/is the input/);
    await stage.discard();
    expect(await readFile(at("in.onnx"), "utf8")).toBe("precious");
  });

  test("an abort while writing leaves the old file and nothing else", async () => {
    await writeFile(at("out"), "old");
    const controller = new AbortController();
    function* chunks() {
      yield new Uint8Array(10);
      controller.abort();
      yield new Uint8Array(10);
    }
    const writing = writeAtomically(at("out"), chunks(), { signal: controller.signal });
    await expect(writing).rejects.toMatchObject({ code: "interrupted" });
    await expect(writeModelFile(at("m"), await network(), { signal: controller.signal })).rejects.toThrow(
      "interrupted",
    );
    expect(await names()).toEqual(["out"]);
    expect(await readFile(at("out"), "utf8")).toBe("old");
  });

  test("an error while writing leaves nothing", async () => {
    function* chunks(): Generator<Uint8Array> {
      yield new Uint8Array(10);
      throw new Error("no more");
    }
    await expect(writeAtomically(at("out"), chunks())).rejects.toThrow(/cannot write .*out: no more/);
    expect(await names()).toEqual([]);
  });

  test("targets that cannot be files", async () => {
    await mkdir(at("dir"));
    await writeFile(at("file"), "");
    const input = await network();
    const refused = (path: string, expected: RegExp) =>
      expect(writeModelFile(path, input)).rejects.toMatchObject({
        code: "bad-option",
        message: expect.stringMatching(expected),
      });
    await refused(at("dir"), /exists and is not a file/);
    await refused("/dev/null", /exists and is not a file/);
    await refused(at("missing", "out.onnx"), /cannot write .*out.onnx: no such file or folder/);
    await refused(at("file", "out.onnx"), /cannot write .*out.onnx: a part of the path is not a folder/);
    expect(await names()).toEqual(["dir", "file"]);
  });
});

describe("files that cannot be read", () => {
  const refused = async (path: string, expected: RegExp) => {
    const reading = readModelFile(path);
    await expect(reading).rejects.toMatchObject({ code: "bad-model", message: expect.stringMatching(expected) });
    await expect(reading).rejects.toMatchObject({ message: expect.stringContaining(path), where: { file: path } });
  };

  test("missing, a folder, a device, empty, not ONNX, cut short", async () => {
    await refused(at("missing.onnx"), /cannot be read: no such file/);
    await refused(folder, /is not a file/);
    await refused("/dev/zero", /is not a file/);
    await writeFile(at("empty.onnx"), "");
    await refused(at("empty.onnx"), /is empty/);
    await writeFile(at("text.onnx"), "hello");
    await refused(at("text.onnx"), /not an ONNX model/);
    await writeFile(at("cut.onnx"), serialise(smallNetwork()).slice(0, 400));
    await refused(at("cut.onnx"), /cut short/);
  });

  test("over 2 GiB, without reading it", async () => {
    await writeFile(at("huge.onnx"), "");
    await truncate(at("huge.onnx"), 2 ** 31);
    await refused(at("huge.onnx"), /has 2147483648 bytes; an ONNX file cannot pass 2 GiB/);
  });
});

describe("external weights", () => {
  const withWeights = async (
    path: string,
    location: string,
    dims = [2n],
    entries: { key: string; value: string }[] = [],
  ) => {
    const tensor: TensorInit = {
      name: "w",
      dataType: Type.FLOAT,
      dims,
      dataLocation: TensorProto_DataLocation.EXTERNAL,
      externalData: [{ key: "location", value: location }, ...entries],
    };
    await writeFile(path, serialise(model({ initializer: [tensor] })));
  };
  const weights = text("01234567");

  test("beside the model, in a folder below, and through links that stay inside", async () => {
    await mkdir(at("sub"));
    await writeFile(at("sub", "w.bin"), weights);
    await symlink(at("sub", "w.bin"), at("link.bin"));
    for (const location of ["sub/w.bin", "link.bin", "./sub/../link.bin"]) {
      await withWeights(at("net.onnx"), location);
      expect((await readModelFile(at("net.onnx"))).graph.initializers.get("w")!.bytes).toEqual(weights);
    }
  });

  test("through a model that is a link itself, as download caches make them", async () => {
    await mkdir(at("blobs"));
    await mkdir(at("snapshot"));
    await withWeights(at("blobs", "1234"), "w.bin");
    await writeFile(at("blobs", "5678"), weights);
    await symlink(at("blobs", "1234"), at("snapshot", "net.onnx"));
    await symlink(at("blobs", "5678"), at("snapshot", "w.bin"));
    expect((await readModelFile(at("snapshot", "net.onnx"))).graph.initializers.get("w")!.bytes).toEqual(weights);
  });

  test("nothing outside the model's folder is read", async () => {
    await mkdir(at("inner"));
    await writeFile(at("secret.bin"), weights);
    await symlink(at("secret.bin"), at("inner", "link.bin"));
    await symlink(folder, at("inner", "up"));
    for (const location of ["../secret.bin", at("secret.bin"), "link.bin", "up/secret.bin", "up/inner/link.bin"]) {
      await withWeights(at("inner", "net.onnx"), location);
      await expect(readModelFile(at("inner", "net.onnx"))).rejects.toMatchObject({ code: "bad-model" });
    }
    await expect(readModelFile(at("inner", "net.onnx"))).rejects.toThrow(/link that leads out of the model's folder/);
  });

  test("missing, too short, not a file, or larger than any memory", async () => {
    const refused = async (
      location: string,
      expected: RegExp,
      dims?: bigint[],
      entries?: { key: string; value: string }[],
    ) => {
      await withWeights(at("net.onnx"), location, dims, entries);
      await expect(readModelFile(at("net.onnx"))).rejects.toMatchObject({
        code: "bad-model",
        message: expect.stringMatching(expected),
        where: { file: at("net.onnx") },
      });
    };
    await refused("w.bin", /w.bin no such file/);
    await writeFile(at("w.bin"), weights);
    await refused("w.bin", /"w.bin" has 8 bytes; the model expects 12 from byte 0/, [3n]);
    await refused("w.bin", /expects 8 from byte 4/, [2n], [{ key: "offset", value: "4" }]);
    await refused("w.bin", /expects 40000000000000 from byte 0/, [10n ** 13n]);
    await mkdir(at("folder"));
    await refused("folder", /is not a file/);
  });
});
