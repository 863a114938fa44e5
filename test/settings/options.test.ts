// The one table of options: what flags may say, what code may give, and that the command line's page knows every one of them.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { flagOf, OPTIONS, type OptionName, type OptionSpec, withFlags } from "../../src/settings/options.ts";
import { settingsOf } from "../../src/settings/settings.ts";
import { pictures } from "../support/pictures.ts";

const names = Object.keys(OPTIONS) as OptionName[];
const page = readFileSync(fileURLToPath(new URL("../../docs/cli.md", import.meta.url)), "utf8");

test.each(names)("%s stands on the command line's page, and its kind refuses nonsense", (name) => {
  expect(page).toContain(`\`${flagOf(name)}`);
  const { kind } = OPTIONS[name] as OptionSpec<unknown>;
  expect(kind.valid(Number.NaN)).toBe(false);
  expect(kind.parse("")).toBeNull();
});

describe("texts of flags", () => {
  const parse = (name: OptionName, text: string) => (OPTIONS[name] as OptionSpec<unknown>).kind.parse(text);
  test.each([
    ["macs", "50%", 0.5],
    ["macs", "0.25", 0.25],
    ["macs", "0", null],
    ["macs", "1.5", null],
    ["maxDrop", "1%", 1],
    ["maxDrop", "0", 0],
    ["maxDrop", "101", null],
    ["speed", "2x", 2],
    ["speed", "0.9", null],
    ["joint", "0", 0],
    ["seed", "1e3", null],
    ["threads", "0", null],
    ["minutes", "3e-1", 0.3],
    ["answers", "boxes", "boxes"],
    ["answers", "box", null],
  ] as const)("%s %s", (name, text, value) => {
    expect(parse(name, text)).toEqual(value);
  });
  test("names between commas", () => {
    expect(parse("methods", "svd, outer")).toEqual(["svd", "outer"]);
    expect(parse("methods", "svd,,outer")).toBeNull();
  });
});

test("what the library says of options becomes flags on the command line", () => {
  expect(withFlags("`maxDrop` needs `data`; `other` stays")).toBe("--max-drop needs --data; `other` stays");
});

test("every default is decided in the record", () => {
  const settings = settingsOf({ macs: 0.5 });
  expect(settings).toMatchObject({
    ...{ goals: { macs: 0.5 }, timed: false, seed: 0, metric: "frobenius", metricAsked: false, confusable: 5 },
    ...{ plan: null, tuning: null, use: { threads: null, batch: 1, seconds: 3 }, images: null, minutes: null },
    asked: { kind: null, outputs: null },
  });
  const data = pictures(4);
  expect(settingsOf({ maxDrop: 1, data }).metric).toBe("kfac");
  expect(settingsOf({ maxDrop: 1, data }).timed).toBe(true);
  expect(settingsOf({ speed: 2, finetune: 3, data }).tuning).toEqual({ epochs: 3, joint: 0.5, labels: true });
});
