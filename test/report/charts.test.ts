import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { expect, test } from "vitest";
import { CHART_COLOURS, type Chart, drawChart, SERIES_COLOURS } from "../../src/report/charts.ts";

const chart: Chart = {
  panels: [
    {
      title: "alone",
      guides: [{ name: "original", at: 97 }],
      series: [
        {
          name: "near & far",
          style: 0,
          points: [
            { x: 1.5, y: 96, range: [95, 96.5] },
            { x: 3, y: 94 },
            { x: 6, y: 90, range: [88, 92] },
          ],
        },
        { name: "other", style: 1, joined: false, points: [{ x: 2, y: 93 }] },
      ],
    },
    { title: "tuned", series: [{ name: "near & far", style: 0, dashed: true, points: [{ x: 2, y: 96 }] }] },
  ],
  x: { name: "times fewer", log: true },
  y: { name: "top-1, %" },
};

const texts = (svg: string) => [...svg.matchAll(/<text[^>]*>([^<]*)<\/text>/g)].map((match) => match[1]!);
const count = (svg: string, pattern: RegExp) => [...svg.matchAll(pattern)].length;

test("is well-formed XML that an SVG library draws, 960 wide", async () => {
  const { format, width } = await sharp(Buffer.from(await drawChart(chart, "one"))).metadata();
  expect([format, width]).toEqual(["svg", 960]);
});

test("says what its axes, panels and series are; a name shared by panels has one entry", async () => {
  const found = texts(await drawChart(chart, "one"));
  for (const text of ["alone", "tuned", "near &amp; far", "other", "original", "times fewer", "top-1, %"])
    expect(found).toContain(text);
  expect(found.filter((text) => text === "near &amp; far")).toHaveLength(1);
  // The x axis of each panel has its numbers at 1, 1.5, 2, 3 and so on.
  for (const mark of ["1.5", "2", "3", "4", "6"]) expect(found.filter((text) => text === mark)).toHaveLength(2);
});

test("has a symbol for each point and a stroke for each interval, at its place", async () => {
  const svg = await drawChart(chart, "one");
  const blue = SERIES_COLOURS[0]!.light;
  // Points, and one in the legend.
  expect(count(svg, new RegExp(`<path[^>]*transform="[^"]*"[^>]*fill="${blue}"`, "g"))).toBe(4 + 1);
  const strokes = [
    ...svg.matchAll(
      new RegExp(`<path d="M([\\d.]+) ([\\d.]+)L([\\d.]+) ([\\d.]+)"[^>]*stroke="${blue}" stroke-width="1.25"`, "g"),
    ),
  ];
  const places = strokes.map((match) => match.slice(1).map(Number));
  expect(places).toHaveLength(2);
  for (const [x1, , x2] of places) expect(x1).toBe(x2);
  const lengths = places.map(([, y1, , y2]) => Math.abs(y2! - y1!));
  expect(lengths[1]! / lengths[0]!).toBeCloseTo((92 - 88) / (96.5 - 95), 1);
});

test("every colour has one for dark ground", async () => {
  const svg = await drawChart(chart, "one");
  const known = [...SERIES_COLOURS, ...Object.values(CHART_COLOURS)].map(({ light }) => light);
  const used = [...svg.matchAll(/(?:fill|stroke)="(#[0-9a-fA-F]+)"/g)].map((match) => match[1]!);
  const clips = svg.match(/<clipPath[\s\S]*?<\/clipPath>/g)?.join("") ?? "";
  expect(used.filter((colour) => !known.includes(colour) && !clips.includes(colour))).toEqual([]);
  expect(new Set(used).size).toBeGreaterThan(4);
});

test("the same chart gives the same text, however many were drawn before; names within it begin with its own", async () => {
  const first = await drawChart(chart, "one");
  await drawChart(chart, "two");
  expect(await drawChart(chart, "one")).toBe(first);
  expect(first).not.toMatch(/zr\d|ecmeta|<style|class=/);
  for (const [, id] of first.matchAll(/(?:id="|url\(#)([^")]+)/g)) expect(id).toMatch(/^one-/);
});

test("panels in rows; a diagonal guide goes through equal numbers; names in place of numbers", async () => {
  const speed: Chart = {
    panels: [1, 2, 3].map((batch) => ({
      title: `batch ${batch}`,
      guides: [{ name: "as promised", at: "diagonal" }],
      series: [
        {
          name: "a",
          style: 0,
          points: [
            { x: 2, y: 1.5 },
            { x: 4, y: 3 },
          ],
        },
      ],
    })),
    columns: 2,
    x: { name: "promised", log: true, min: 1, max: 8 },
    y: { name: "measured", log: true, min: 1, max: 8 },
  };
  const svg = await drawChart(speed, "speed");
  const { height = 0 } = await sharp(Buffer.from(svg)).metadata();
  const one = await sharp(Buffer.from(await drawChart({ ...speed, columns: 3 }, "speed"))).metadata();
  expect(height).toBeGreaterThan(1.8 * one.height!);
  // From corner to corner, since both axes go from 1 to 8.
  const [, x1, y1, x2, y2] = svg
    .match(/<path d="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)"[^>]*stroke-dasharray/)!
    .map(Number);
  expect(x2! - x1!).toBeGreaterThan(400);
  expect(y1! - y2!).toBeGreaterThan(200);
  const named = await drawChart(
    { ...speed, panels: speed.panels.slice(0, 1), x: { name: "layer", ticks: ["conv1", "conv2", "fc", "last"] } },
    "named",
  );
  for (const name of ["conv1", "conv2", "fc", "last"]) expect(texts(named)).toContain(name);
});

test("ECharts is loaded when a chart is drawn, by this file alone: other commands start without it", () => {
  const root = fileURLToPath(new URL("../../src", import.meta.url));
  const files = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));
  const naming = files.filter((file) => /["']echarts/.test(readFileSync(join(root, file), "utf8")));
  expect(naming.map((file) => file.replaceAll("\\", "/"))).toEqual(["report/charts.ts"]);
  const text = readFileSync(join(root, naming[0]!), "utf8");
  const statics = [...text.matchAll(/^import (.*) from "echarts/gm)].map((match) => match[1]!);
  expect(statics.every((what) => what.startsWith("type "))).toBe(true);
});

test("a point that is none is refused", async () => {
  const panels = [{ title: "", series: [{ name: "a", style: 0, points: [{ x: 1, y: Number.NaN }] }] }];
  await expect(drawChart({ ...chart, panels }, "one")).rejects.toThrow("(1, NaN) is no point");
});
