// Holds the architecture: which layer may import which, who may touch ONNX Runtime and Node's own modules.

import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

/** Each layer may import only from itself and from those above it. */
const ORDER = [
  "errors.ts",
  "deadline.ts",
  "progress.ts",
  "memo.ts",
  "graph",
  "onnx",
  "runtime",
  "linalg",
  "data",
  "answers",
  "analyze",
  "autodiff",
  "metric",
  "approximate",
  "rewrite",
  "slim",
  "measure",
  "search",
  "finetune",
  "report",
  "reproduce",
  "settings",
  "pipeline",
  "compress.ts",
  "index.ts",
  "web.ts",
  "cli",
];

const root = fileURLToPath(new URL("../src", import.meta.url));

interface Import {
  readonly file: string;
  readonly from: string;
}

function importsIn(file: string): Import[] {
  const text = readFileSync(join(root, file), "utf8");
  const pattern = /(?:^|\n)\s*(?:import|export)\b[^;"']*?["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']/g;
  return [...text.matchAll(pattern)].map((match) => ({ file, from: match[1] ?? match[2] ?? "" }));
}

const files = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));
const imports = files.flatMap(importsIn);
const layerOf = (file: string) => file.split("/")[0]!;

test("every source file stands in a known layer", () => {
  expect(files.length).toBeGreaterThan(30);
  expect(files.filter((file) => !ORDER.includes(layerOf(file)))).toEqual([]);
});

test("a layer imports only from the layers above it", () => {
  const wrong = imports.filter(({ file, from }) => {
    if (!from.startsWith(".")) return false;
    const target = layerOf(relative(root, join(root, file, "..", from)));
    return ORDER.indexOf(target) > ORDER.indexOf(layerOf(file)) || !ORDER.includes(target);
  });
  expect(wrong).toEqual([]);
});

test("only runtime/ imports ONNX Runtime, and only as #ort", () => {
  const wrong = imports.filter(
    ({ file, from }) => from.startsWith("onnxruntime") || (from === "#ort" && layerOf(file) !== "runtime"),
  );
  expect(wrong).toEqual([]);
});

test("only onnx/ knows protobuf", () => {
  const wrong = imports.filter(
    ({ file, from }) => (from === "onnx-buf" || from.startsWith("@bufbuild/")) && layerOf(file) !== "onnx",
  );
  expect(wrong).toEqual([]);
});

test("Node's modules stay in cli/ and in the Node side of runtime/ and data/", () => {
  const wrong = imports.filter(({ file, from }) => {
    const allowed = layerOf(file) === "cli" || (/^(runtime|data)\//.test(file) && file.endsWith(".node.ts"));
    return (from.startsWith("node:") || from === "sharp") && !allowed;
  });
  expect(wrong).toEqual([]);
});
