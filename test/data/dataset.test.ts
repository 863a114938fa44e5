import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32, gzipSync } from "node:zlib";
import { zipSync } from "fflate";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { batches } from "../../src/data/batches.ts";
import type { Dataset } from "../../src/data/dataset.ts";
import { datasetFromArrays } from "../../src/data/dataset.ts";
import { openDataset } from "../../src/data/platform.node.ts";
import { PRESETS, type Preprocess } from "../../src/data/preprocess.ts";
import { npy } from "../support/npy.ts";

const SIZE = 6;
const WANTED = { width: SIZE, height: SIZE, channels: 3, fit: "stretch" } as const;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-data-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Bytes of a picture of one colour with a dot at the top left. */
const pixels = (r: number, g: number, b: number) =>
  Buffer.from(Array.from({ length: SIZE * SIZE }, (_, p) => (p === 0 ? [255, 0, 0] : [r, g, b])).flat());

const png = (r: number, g: number, b: number, size = SIZE) =>
  sharp(pixels(r, g, b), { raw: { width: SIZE, height: SIZE, channels: 3 } })
    .resize(size, size)
    .png()
    .toBuffer();

/** A PNG whose head promises a size that its body does not have. */
async function declared(width: number, height: number): Promise<Uint8Array> {
  const file = await png(1, 2, 3);
  file.writeUInt32BE(width, 16);
  file.writeUInt32BE(height, 20);
  file.writeUInt32BE(crc32(file.subarray(12, 29)), 29);
  return file;
}

async function write(name: string, files: Readonly<Record<string, Uint8Array | string>>): Promise<string> {
  const root = join(folder, name);
  for (const [path, bytes] of Object.entries(files)) {
    await mkdir(join(root, path, ".."), { recursive: true });
    await writeFile(join(root, path), bytes);
  }
  return root;
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

  test("every folder counts as a class, even where it is empty; what is in folders below is told, not used", async () => {
    const root = await write("sample", { "a/1.png": await png(0, 200, 0), "c/2.png": await png(0, 0, 200) });
    await mkdir(join(root, "b"));
    await write("sample/c/deeper", { "3.png": await png(1, 1, 1) });
    const data = await openDataset(root);
    expect(data.classes).toEqual(["a", "b", "c"]);
    expect([...data.labels!]).toEqual([0, 2]);
    expect([...data.ignored].sort()).toEqual([`${join("b", "/")} (no images)`, join("c", "deeper", "/")]);
  });

  test("a single folder of images is no class: there are no labels", async () => {
    const data = await openDataset(await write("single", { "photos/1.png": await png(0, 200, 0) }));
    expect([data.size, data.classes, data.labels]).toEqual([1, null, null]);
  });

  test("folders of folders of images are refused, and told", async () => {
    const one = await png(1, 1, 1);
    const names = ["train/a/1.png", "train/b/1.png", "test/a/1.png", "test/b/1.png"];
    const root = await write("deep", Object.fromEntries(names.map((name) => [name, one])));
    await expect(openDataset(root)).rejects.toMatchObject({
      code: "bad-data",
      message: expect.stringContaining(`only ${join("test", "a", "/")}, ${join("test", "b", "/")}`),
    });
  });

  test("a link counts as what it leads to; where it leads nowhere the image is told as missing", async () => {
    const root = await write("links", { "a/1.png": await png(0, 200, 0), "b/1.png": await png(0, 0, 200) });
    await symlink(join(root, "a"), join(root, "c"));
    await symlink(join(root, "none.png"), join(root, "b", "2.png"));
    await symlink(root, join(root, "a", "loop"));
    const data = await openDataset(root);
    expect([data.classes, [...data.labels!]]).toEqual([
      ["a", "b", "c"],
      [0, 1, 1, 2],
    ]);
    await expect(data.load(2, WANTED)).rejects.toThrow("no such file");
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

  test("grey is 0.299 R + 0.587 G + 0.114 B, for files and for arrays", async () => {
    const data = await openDataset(await write("luma", { "a.png": await png(200, 50, 10) }));
    const arrays = datasetFromArrays({ x: new Uint8Array(pixels(200, 50, 10)), shape: [1, SIZE, SIZE, 3] });
    for (const set of [data, arrays]) {
      const grey = await set.load(0, { ...WANTED, channels: 1 });
      expect([...grey.data.subarray(0, 2)]).toEqual([76, Math.round(0.299 * 200 + 0.587 * 50 + 0.114 * 10)]);
    }
  });

  test("16 bits, CMYK, palettes, animations, WebP and AVIF are read; EXIF turns a picture upright", async () => {
    const colours = sharp(pixels(200, 50, 10), { raw: { width: SIZE, height: SIZE, channels: 3 } });
    const tall = sharp({ create: { width: 4, height: 8, channels: 3, background: "red" } });
    const turned = await tall
      .composite([{ input: { create: { width: 4, height: 4, channels: 3, background: "blue" } }, top: 0, left: 0 }])
      .withMetadata({ orientation: 6 })
      .png()
      .toBuffer();
    const both = [await png(200, 50, 10), await png(10, 50, 200)];
    const root = await write("kinds", {
      "0.png": await colours.clone().toColourspace("rgb16").png().toBuffer(),
      "1.jpg": await colours.clone().toColourspace("cmyk").jpeg().toBuffer(),
      "2.png": await colours.clone().png({ palette: true }).toBuffer(),
      "3.gif": await sharp(both, { join: { animated: true } })
        .gif()
        .toBuffer(),
      "4.webp": await sharp(both, { join: { animated: true } })
        .webp({ lossless: true })
        .toBuffer(),
      "5.avif": await colours.clone().avif({ lossless: true }).toBuffer(),
      "6.jpg": await png(200, 50, 10),
      "7.png": turned,
    });
    const data = await openDataset(root);
    for (let i = 0; i < 7; i++) {
      const [r = 0, g = 0, b = 0] = (await data.load(i, WANTED)).data.subarray(-3);
      const off = Math.max(Math.abs(r - 200), Math.abs(g - 50), Math.abs(b - 10));
      expect(off, data.name(i)).toBeLessThanOrEqual(i === 1 ? 25 : 3);
    }
    // Turned right by 90 degrees, what was above is on the right; the middle of 8 x 4 is cut out.
    const upright = (await data.load(7, { width: 4, height: 4, channels: 3, fit: "cover" })).data;
    expect(upright[0]! - upright[2]!).toBeGreaterThan(200);
    expect(upright[11]! - upright[9]!).toBeGreaterThan(200);
  });

  test("a shrunk picture is averaged, and cut like torchvision's", async () => {
    // Grey rises by 4 a column. 64 becomes 16 for 14 (8/7 of it), of which one is cut off on each side.
    const rising = Buffer.from(Array.from({ length: 64 * 64 }, (_, p) => Array(3).fill(4 * (p % 64))).flat());
    const file = await sharp(rising, { raw: { width: 64, height: 64, channels: 3 } })
      .png()
      .toBuffer();
    const data = await openDataset(await write("shrunk", { "a.png": file }));
    const middle = (step: number, x: number) => 4 * (step * (x + 0.5) - 0.5);
    const cut = (await data.load(0, { width: 14, height: 14, channels: 3, fit: "cover" })).data;
    for (let x = 0; x < 14; x++) expect(Math.abs(cut[3 * x]! - middle(4, x + 1))).toBeLessThanOrEqual(2);
    const stretched = (await data.load(0, { width: 4, height: 4, channels: 3, fit: "stretch" })).data;
    for (let x = 1; x < 3; x++) expect(Math.abs(stretched[3 * x]! - middle(16, x))).toBeLessThanOrEqual(2);
  });

  test.each<[string, () => Promise<Uint8Array | string>, string]>([
    ["empty.png", async () => "", "the file is empty"],
    ["text.jpg", async () => "hello", "no image of a known kind"],
    ["cut.png", async () => (await png(1, 2, 3)).subarray(0, -20), "damaged or cut short"],
    ["vector.png", async () => '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "it holds svg"],
    ["huge.png", () => declared(20_000, 20_000), "20000x20000 are more than"],
  ])("%s: says what is wrong with it", async (name, make, words) => {
    const data = await openDataset(await write(`bad-${name}`, { [name]: await make() }));
    // Many at once: libvips has one error text for all its threads.
    const all = await Promise.allSettled(Array.from({ length: 8 }, () => data.load(0, WANTED)));
    for (const result of all) {
      expect(result).toMatchObject({ reason: { code: "bad-data", message: expect.stringContaining(words) } });
    }
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

  test("an .npz whose bytes have changed is refused, and so is one that claims more than it can hold", async () => {
    const good = zipSync({ "x.npy": npy("|u1", [2, SIZE, SIZE, 3], x) }, { level: 0 });
    const changed = good.slice();
    changed[200]! ^= 1;
    const claiming = zipSync({ "x.npy": npy("|u1", [2, SIZE, SIZE, 3], x) });
    new DataView(claiming.buffer).setUint32(claiming.length - 22 - 46 - 5 + 24, 2 ** 31, true);
    const beyond = good.slice();
    new DataView(beyond.buffer).setUint32(beyond.length - 22 - 4 - "x.npy".length, good.length + 1, true);
    const files = { "good.npz": good, "changed.npz": changed, "claiming.npz": claiming, "beyond.npz": beyond };
    const root = await write("damaged", files);
    await expect(openDataset(join(root, "beyond.npz"))).rejects.toThrow("x.npy is cut short");
    expect((await openDataset(join(root, "good.npz"))).size).toBe(2);
    await expect(openDataset(join(root, "changed.npz"))).rejects.toThrow("x.npy is damaged");
    await expect(openDataset(join(root, "claiming.npz"))).rejects.toThrow("claims 2147483648 bytes");
  });

  test("labels as a column, as Keras has them", async () => {
    const y = npy("|u1", [2, 1], Uint8Array.of(7, 2));
    const path = join(
      await write("column", { "d.npz": zipSync({ "x.npy": npy("|u1", [2, 6, 6, 3], x), "y.npy": y }) }),
      "d.npz",
    );
    expect([...(await openDataset(path)).labels!]).toEqual([7, 2]);
  });

  test(".npy of grey images", async () => {
    const data = await openDataset(join(await write("npy", { "d.npy": npy("|u1", [6, SIZE, SIZE], x) }), "d.npy"));
    expect([data.size, data.labels]).toEqual([6, null]);
  });

  test("IDX files, plain and gzipped, with their labels", async () => {
    const images = Uint8Array.of(0, 0, 8, 3, 0, 0, 0, 6, 0, 0, 0, SIZE, 0, 0, 0, SIZE, ...x);
    const labels = Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 6, 0, 1, 2, 3, 4, 5);
    // The folder's name is not part of MNIST's naming.
    const root = await write("images-idx3", {
      "train-images-idx3-ubyte.gz": gzipSync(images),
      "train-labels-idx1-ubyte": labels,
    });
    const data = await openDataset(join(root, "train-images-idx3-ubyte.gz"));
    expect([...data.labels!]).toEqual([0, 1, 2, 3, 4, 5]);
    expect((await data.load(1, { ...WANTED, channels: 1 })).data).toEqual(x.subarray(36, 72));
  });

  test("a gzip of more than its header tells of is left where that shows", async () => {
    const header = Uint8Array.of(0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, SIZE, 0, 0, 0, SIZE);
    const bomb = gzipSync(Buffer.concat([header, Buffer.alloc(2 ** 27)]));
    const root = await write("bomb", {
      "t-images-idx3-ubyte.gz": bomb,
      "l-images-idx3-ubyte.gz": gzipSync(Buffer.alloc(9)),
    });
    const before = process.memoryUsage().arrayBuffers;
    const opened = openDataset(join(root, "t-images-idx3-ubyte.gz"));
    await expect(opened).rejects.toThrow("holds more than the 52 bytes that its header tells of");
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 ** 26);
    await expect(openDataset(join(root, "l-images-idx3-ubyte.gz"))).rejects.toThrow("is not an IDX file");
  });

  test.each([
    ["no x", zipSync({ "z.npy": npy("<U5", [1], new Uint8Array(20)) }), "no array x (uint8 images, [N,H,W,C])"],
    ["labels alone", zipSync({ "y.npy": npy("|u1", [1], Uint8Array.of(1)) }), "labels y alone"],
    ["stub", Uint8Array.of(0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 2, 0, 9, 0), "not a NumPy array"],
    ["big-endian", zipSync({ "x.npy": npy(">f4", [1, 1, 1, 1], new Uint8Array(4)) }), '.astype("<f4")'],
    ["negative", zipSync({ "x.npy": npy("|u1", [2, -6, 6, 3], x) }), "none below 0"],
    [
      "huge label",
      zipSync({
        "x.npy": npy("|u1", [1, 6, 6, 3], x),
        "y.npy": npy("<i8", [1], new Uint8Array(BigInt64Array.of(2n ** 32n).buffer)),
      }),
      "labels are below 2^31",
    ],
    [
      "float labels",
      zipSync({ "x.npy": npy("|u1", [1, 6, 6, 3], x), "y.npy": npy("<f4", [1], new Uint8Array(4)) }),
      "labels must be integers",
    ],
    [
      "other counts",
      zipSync({ "a.npy": npy("|u1", [2, 1], x), "b.npy": npy("|u1", [3, 1], x) }),
      "a is of 2 samples, but b has the shape [3,1]",
    ],
    [
      "labels",
      zipSync({ "x.npy": npy("|u1", [2, 6, 6, 3], x), "y.npy": npy("|u1", [3], Uint8Array.of(1, 2, 3)) }),
      "2 images but labels",
    ],
    ["short", zipSync({ "x.npy": npy("|u1", [9, 6, 6, 3], x) }), "cut short"],
    ["fortran", zipSync({ "x.npy": npy("|u1", [2, 6, 6, 3], x, "True") }), "Fortran"],
    ["not a zip", new Uint8Array(40), "not a readable .npz"],
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

  const imageOf = (wanted: Preprocess) => {
    const info = { name: "x", type: "float32", shape: null } as const;
    return { inputs: [{ name: "x", info, preprocess: wanted, whole: false, sizes: null }] };
  };

  const collect = async (data: Dataset, more: Partial<Preprocess> = {}, options = {}) => {
    const found = [];
    for await (const batch of batches(data, imageOf({ ...preprocess, ...more }), { batch: 2, ...options }))
      found.push(batch);
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
    expect(first!.feeds.x!.dims).toEqual([2, 3, SIZE, SIZE]);
    expect(first!.feeds.x!.data[0]).toBeCloseTo((10 / 255 - 0.485) / 0.229, 5);
    expect(first!.feeds.x!.data[36]).toBeCloseTo((11 / 255 - 0.456) / 0.224, 5);
    expect(first!.feeds.x!.data[108 + 72]).toBeCloseTo((22 / 255 - 0.406) / 0.225, 5);
    const [nhwc] = await collect(colours, { layout: "nhwc", order: "bgr", mean: [0, 0, 0], std: [1, 1, 1], scale: 1 });
    expect(nhwc!.feeds.x!.dims).toEqual([2, SIZE, SIZE, 3]);
    expect([...nhwc!.feeds.x!.data.slice(0, 3)]).toEqual([12, 11, 10]);
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
