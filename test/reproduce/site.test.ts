import sharp from "sharp";
import { beforeAll, describe, expect, test } from "vitest";
import { memoryMemo } from "../../src/memo.ts";
import type { Results } from "../../src/reproduce/run.ts";
import { makeSite, type Site, type SiteOptions } from "../../src/reproduce/site.ts";
import { measureToy, toySubject } from "./toys.ts";

const OPTIONS: SiteOptions = {
  ...{ name: "a toy & its <images>", data: "Noise.", machine: "a test", command: "lowrank reproduce -o out", seed: 0 },
  ...{ costs: { macs: 1000, params: 100 }, notes: ["one thing to know"] },
};

let results: Results;
let site: Site;
let page: string;

beforeAll(async () => {
  const subject = await toySubject();
  results = await measureToy(subject, memoryMemo());
  site = await makeSite(results, OPTIONS);
  page = site.files.get("index.html")!;
});

const named = (pattern: RegExp) => [...site.files].filter(([name]) => pattern.test(name));

test("a page, figures, tables as text and as JSON, and all values", () => {
  const names = [...site.files.keys()];
  expect(names).toEqual(
    expect.arrayContaining(["index.html", "results.json", "figures/speed.svg", "figures/cascade.svg"]),
  );
  const tables = ["layers", "methods", "first-convolution", "metrics", "speed", "fully-connected", "cascade"];
  expect(named(/^tables\//).map(([name]) => name)).toEqual(
    tables.flatMap((name) => [`tables/${name}.txt`, `tables/${name}.json`]),
  );
  // A figure for each method that has a curve on the first convolution.
  const curves = new Set(
    results.layers[0]!.curves.map(({ method }) => `figures/conv2-${method.replace("+", "-")}.svg`),
  );
  expect(names).toEqual(expect.arrayContaining([...curves]));
});

test("the same results make the same files", async () => {
  expect([...(await makeSite(results, OPTIONS)).files]).toEqual([...site.files]);
});

test("every figure is well-formed, and stands in the page with what it shows", async () => {
  const figures = named(/\.svg$/);
  expect(figures.length).toBe(site.findings.length);
  for (const [name, svg] of figures) {
    expect((await sharp(Buffer.from(svg)).metadata()).width).toBe(960);
    const { text } = site.findings.find(({ figure }) => figure === name)!;
    expect(text).toMatch(/\d.*\.$/);
    expect(page).toContain(text.replaceAll("&", "&amp;"));
  }
});

test("nothing in the page comes from elsewhere; names are only text", () => {
  const own = page
    .replaceAll('xmlns="http://www.w3.org/2000/svg"', "")
    .replaceAll('xmlns:xlink="http://www.w3.org/1999/xlink"', "");
  expect(own).not.toMatch(/https?:|\b(?:src|href)="(?!#)|@import|<script|<link|<iframe/);
  expect(own.match(/url\([^)]*\)/g)!.every((reference) => reference.startsWith("url(#"))).toBe(true);
  expect(page).toContain("a toy &amp; its &lt;images&gt;");
  const ids = [...page.matchAll(/ id="([^"]+)"/g)].map((match) => match[1]);
  expect(new Set(ids).size).toBe(ids.length);
});

describe("tables", () => {
  const rows = (name: string) =>
    JSON.parse(site.files.get(`tables/${name}.json`)!) as Record<string, number | string | null>[];

  test("layers: what each was, then each method, with ratios of its parameters and MACs", () => {
    const { layer, table } = results.layers[0]!;
    const own = rows("layers").filter((row) => row.layer === layer.name);
    expect(own[0]).toMatchObject({ method: "as it was", params: layer.params });
    expect(own.slice(1).map(({ method }) => method)).toEqual(table.map(({ method }) => method));
    for (const [i, row] of own.slice(1).entries()) {
      expect(row.macs_ratio).toBe(layer.macs / table[i]!.macs);
      expect(row.params_ratio).toBe(layer.params / table[i]!.params);
    }
  });

  test("one row a measurement", () => {
    const all = results.layers.flatMap(({ speeds }) => speeds);
    expect(rows("speed").map(({ measured }) => measured)).toEqual(all.map(({ measured }) => measured));
    expect(rows("first-convolution")).toHaveLength(results.layers[0]!.tuned.length);
    expect(rows("cascade").map(({ drop }) => drop)).toEqual(results.stages.map(({ accuracy }) => accuracy.drop));
  });

  test("text has the same rows as JSON, under the same headings as the page", () => {
    for (const [name, text] of named(/\.txt$/)) {
      const [, , , head, ...lines] = text.trimEnd().split("\n");
      expect(lines).toHaveLength(JSON.parse(site.files.get(name.replace(".txt", ".json"))!).length);
      expect(head).toMatch(/layer|method/);
    }
  });
});

test("results.json has every point", () => {
  const { layers, baseline, network, cascade } = JSON.parse(site.files.get("results.json")!);
  expect(network).toEqual({ name: OPTIONS.name, macs: 1000, params: 100 });
  expect(baseline.top1).toBe(results.baseline.top1);
  expect(layers.map(({ points }: { points: unknown[] }) => points.length)).toEqual(
    results.layers.map(({ points }) => points.length),
  );
  expect(cascade).toHaveLength(results.stages.length);
});
