import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { zipSync } from "fflate";
import sharp from "sharp";
import { beforeAll, describe, expect, test } from "vitest";
import { batches } from "../../src/data/batches.ts";
import type { Dataset } from "../../src/data/dataset.ts";
import { datasetFromArrays } from "../../src/data/dataset.ts";
import { openDataset } from "../../src/data/platform.node.ts";
import { PRESETS, type Preprocess } from "../../src/data/preprocess.ts";

const SIZE = 6;
const WANTED = { width: SIZE, height: SIZE, channels: 3, fit: "stretch" } as const;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-data-"));
});

/** Bytes of a picture of one colour with a dot at the top left. */
const pixels = (r: number, g: number, b: number) =>
  Buffer.from(Array.from({ length: SIZE * SIZE }, (_, p) => (p === 0 ? [255, 0, 0] : [r, g, b])).flat());

const png = (r: number, g: number, b: number, size = SIZE) =>
  sharp(pixels(r, g, b), { raw: { width: SIZE, height: SIZE, channels: 3 } })
    .resize(size, size)
    .png()
    .toBuffer();

async function write(name: string, files: Readonly<Record<string, Uint8Array | string>>): Promise<string> {
  const root = join(folder, name);
  for (const [path, bytes] of Object.entries(files)) {
    await mkdir(join(root, path, ".."), { recursive: true });
    await writeFile(join(root, path), bytes);
  }
  return root;
}

function npy(descr: string, shape: readonly number[], body: Uint8Array, order = "False"): Uint8Array {
  const text = `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': (${shape.join(", ")}${shape.length === 1 ? "," : ""}), }\n`;
  const head = Uint8Array.of(0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, text.length & 255, text.length >> 8);
  return new Uint8Array([...head, ...new TextEncoder().encode(text), ...body]);
}

describe("folders", () => {
  test("class folders give labels in the order of their names; other files are told", async () => {
    const root = await write("classes", {
      "b/2.png": await png(0, 0, 200),
      "a/1.png": await png(0, 200, 0),
      "a/0.PNG": await png(200, 0, 0),
      "a/notes.txt": "hello",
      "loose.png": await png(1, 1, 1),
      ".hidden/x.png": await png(1, 1, 1),
    });
    const data = await openDataset(root);
    expect(data.classes).toEqual(["a", "b"]);
    expect([...data.labels!]).toEqual([0, 0, 1]);
    expect([0, 1, 2].map(data.name)).toEqual([join("a", "0.PNG"), join("a", "1.png"), join("b", "2.png")]);
    expect([...data.ignored].sort()).toEqual([join("a", "notes.txt"), "loose.png"].sort());
    expect([...(await data.load(1, WANTED)).data.subarray(0, 6)]).toEqual([255, 0, 0, 0, 200, 0]);
  });

  test("a flat folder has no labels", async () => {
    const data = await openDataset(await write("flat", { "b.png": await png(9, 9, 9), "a.png": await png(1, 2, 3) }));
    expect(data.size).toBe(2);
    expect(data.labels).toBeNull();
    expect([...(await data.load(0, WANTED)).data.subarray(3, 6)]).toEqual([1, 2, 3]);
  });

  test("grey files serve three channels, colour files one, alpha is flattened, sizes are brought in line", async () => {
    const grey = await sharp(Buffer.alloc(SIZE * SIZE, 77), { raw: { width: SIZE, height: SIZE, channels: 1 } })
      .png()
      .toBuffer();
    const clear = await sharp({
      create: { width: 9, height: 5, channels: 4, background: { r: 255, g: 255, b: 255, alpha: 0 } },
    })
      .png()
      .toBuffer();
    const data = await openDataset(
      await write("mixed", { "0.png": grey, "1.png": clear, "2.png": await png(50, 100, 150, 31) }),
    );
    expect([...(await data.load(0, WANTED)).data.subarray(0, 3)]).toEqual([77, 77, 77]);
    const flat = await data.load(1, WANTED);
    expect(flat.data.length).toBe(SIZE * SIZE * 3);
    expect(Math.max(...flat.data)).toBe(0);
    for (const fit of ["stretch", "cover"] as const) {
      const sized = await data.load(2, { ...WANTED, fit });
      expect(sized.data.length).toBe(SIZE * SIZE * 3);
      expect([...sized.data.subarray(-3)].map((v, i) => Math.abs(v - [50, 100, 150][i]!) <= 2)).toEqual([
        true,
        true,
        true,
      ]);
    }
    const one = await data.load(2, { ...WANTED, channels: 1 });
    expect(one.data.length).toBe(SIZE * SIZE);
  });

  test.each([
    ["nothing", {}, "no such file"],
    ["empty", { "notes.txt": "x" }, "holds no images, only notes.txt"],
  ])("%s: one clear line", async (name, files, words) => {
    await expect(openDataset(await write(name, files))).rejects.toMatchObject({
      code: "bad-data",
      message: expect.stringContaining(words),
    });
  });
});

describe("arrays", () => {
  const x = Uint8Array.from({ length: 2 * SIZE * SIZE * 3 }, (_, i) => i % 256);

  test(".npz with x and y", async () => {
    const y = new Uint8Array(BigInt64Array.of(3n, 1n).buffer);
    const bytes = zipSync({ "x.npy": npy("|u1", [2, SIZE, SIZE, 3], x), "y.npy": npy("<i8", [2], y) });
    const data = await openDataset(join(await write("npz", { "d.npz": bytes }), "d.npz"));
    expect([...data.labels!]).toEqual([3, 1]);
    expect((await data.load(1, WANTED)).data).toEqual(x.subarray(SIZE * SIZE * 3));
    const smaller = await data.load(0, { ...WANTED, width: 3, height: 3 });
    expect(smaller.data.length).toBe(27);
  });

  test(".npy of grey images", async () => {
    const data = await openDataset(join(await write("npy", { "d.npy": npy("|u1", [6, SIZE, SIZE], x) }), "d.npy"));
    expect([data.size, data.labels]).toEqual([6, null]);
  });

  test("IDX files, plain and gzipped, with their labels", async () => {
    const images = Uint8Array.of(0, 0, 8, 3, 0, 0, 0, 6, 0, 0, 0, SIZE, 0, 0, 0, SIZE, ...x);
    const labels = Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 6, 0, 1, 2, 3, 4, 5);
    const root = await write("idx", {
      "train-images-idx3-ubyte.gz": gzipSync(images),
      "train-labels-idx1-ubyte": labels,
    });
    const data = await openDataset(join(root, "train-images-idx3-ubyte.gz"));
    expect([...data.labels!]).toEqual([0, 1, 2, 3, 4, 5]);
    expect((await data.load(1, { ...WANTED, channels: 1 })).data).toEqual(x.subarray(36, 72));
  });

  test.each([
    ["no x", zipSync({ "z.npy": npy("|u1", [1], Uint8Array.of(1)) }), "no array x"],
    ["floats", zipSync({ "x.npy": npy("<f4", [1, 1, 1, 1], new Uint8Array(4)) }), "<f4"],
    [
      "labels",
      zipSync({ "x.npy": npy("|u1", [2, 6, 6, 3], x), "y.npy": npy("|u1", [3], Uint8Array.of(1, 2, 3)) }),
      "2 images but labels",
    ],
    ["short", zipSync({ "x.npy": npy("|u1", [9, 6, 6, 3], x) }), "cut short"],
    ["fortran", zipSync({ "x.npy": npy("|u1", [2, 6, 6, 3], x, "True") }), "Fortran"],
    ["not a zip", new Uint8Array(40), "not a readable .npz"],
    ["channels", zipSync({ "x.npy": npy("|u1", [1, 6, 6, 6], x) }), "found [1,6,6,6]"],
  ])("%s: one clear line", async (name, bytes, words) => {
    const path = join(await write(`bad-${name}`, { "d.npz": bytes }), "d.npz");
    await expect(openDataset(path)).rejects.toMatchObject({
      code: "bad-data",
      message: expect.stringContaining(words),
    });
  });
});

describe("batches", () => {
  const preprocess: Preprocess = {
    ...PRESETS.imagenet!,
    width: SIZE,
    height: SIZE,
    channels: 3,
    order: "rgb",
    layout: "nchw",
  };

  const collect = async (data: Dataset, more: Partial<Preprocess> = {}, options = {}) => {
    const found = [];
    for await (const batch of batches(data, { ...preprocess, ...more }, { batch: 2, ...options })) found.push(batch);
    return found;
  };

  const colours = datasetFromArrays({
    x: Uint8Array.from(
      [10, 20, 30, 40, 50, 60].flatMap((v) => Array.from({ length: 36 }, () => [v, v + 1, v + 2]).flat()),
    ),
    shape: [6, SIZE, SIZE, 3],
    y: [0, 1, 2, 3, 4, 5],
  });

  test("are (byte / 255 - mean) / std in the layout and order asked for", async () => {
    const [first] = await collect(colours);
    expect(first!.input.dims).toEqual([2, 3, SIZE, SIZE]);
    expect(first!.input.data[0]).toBeCloseTo((10 / 255 - 0.485) / 0.229, 5);
    expect(first!.input.data[36]).toBeCloseTo((11 / 255 - 0.456) / 0.224, 5);
    expect(first!.input.data[108 + 72]).toBeCloseTo((22 / 255 - 0.406) / 0.225, 5);
    const [nhwc] = await collect(colours, { layout: "nhwc", order: "bgr", mean: [0, 0, 0], std: [1, 1, 1], scale: 1 });
    expect(nhwc!.input.dims).toEqual([2, SIZE, SIZE, 3]);
    expect([...nhwc!.input.data.slice(0, 3)]).toEqual([12, 11, 10]);
  });

  test("come in order with their labels, the last one smaller", async () => {
    const found = await collect(colours, {}, { indices: Int32Array.of(5, 0, 3) });
    expect(found.map(({ indices }) => [...indices])).toEqual([[5, 0], [3]]);
    expect(found.map(({ labels }) => [...labels!])).toEqual([[5, 0], [3]]);
  });

  test("pass over what cannot be read, by name, and fail only when that is all", async () => {
    const good = await png(1, 2, 3);
    const root = await write("corrupt", {
      "a.png": good,
      "b.png": good.subarray(0, 60),
      "c.jpg": "not an image",
      "d.png": good,
    });
    const skipped: string[] = [];
    const onSkip = (name: string) => skipped.push(name);
    const found = await collect(await openDataset(root), {}, { onSkip });
    expect(found.flatMap(({ indices }) => [...indices])).toEqual([0, 3]);
    expect(skipped.sort()).toEqual(["b.png", "c.jpg"]);
    const all = await openDataset(await write("all-bad", { "b.png": good.subarray(0, 60), "c.jpg": "no" }));
    await expect(collect(all)).rejects.toMatchObject({ code: "bad-data", message: expect.stringContaining("b.png") });
  });

  test("stop when told to", async () => {
    await expect(collect(colours, {}, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "interrupted" });
  });
});
