// The package as its users get it: built, packed, unpacked into a project of theirs that has what package.json promises and
// nothing else; then its command, its types, and a bundle for a page.

import { type SpawnSyncOptions, spawn, spawnSync } from "node:child_process";
import { closeSync, existsSync, openSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { afterAll, beforeAll, expect, test } from "vitest";
import { encodeModel } from "../src/onnx/encode.ts";
import { writePhotos } from "./support/cli.ts";
import { smallClassifier } from "./support/nets.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const tsc = join(root, "node_modules/typescript/bin/tsc");

let folder: string;
let app: string;

/** Runs a program to its end; it must succeed. */
function run(program: string, args: readonly string[], options: SpawnSyncOptions = {}): string {
  const { status, stdout, stderr } = spawnSync(program, args, { ...options, encoding: "utf8" });
  expect(`${stderr}${status === 0 ? "" : stdout}`, `${program} ${args.join(" ")}`).not.toMatch(/error|lowrank:/i);
  expect(status).toBe(0);
  return String(stdout);
}

interface Manifest {
  readonly bin: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly optionalDependencies: Readonly<Record<string, string>>;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-package-"));
  app = join(folder, "app");
  const packed = join(folder, "packed");
  // Not the checkout's own dist, which may be old or under way.
  run(process.execPath, [tsc, "-p", "tsconfig.build.json", "--outDir", join(packed, "dist")], { cwd: root });
  for (const name of await readdir(root)) {
    if (/^(package\.json|README\.md|LICENSE|CHANGELOG\.md|docs|examples|test)$/.test(name))
      await cp(join(root, name), join(packed, name), { recursive: true });
  }
  const shell = process.platform === "win32";
  run("npm", ["pack", "--silent", "--ignore-scripts", "--pack-destination", folder], { cwd: packed, shell });
  const [tarball] = (await readdir(folder)).filter((name) => name.endsWith(".tgz"));
  await mkdir(join(app, "node_modules"), { recursive: true });
  run("tar", ["-xzf", join("..", tarball!)], { cwd: app });
  await cp(join(app, "package"), join(app, "node_modules/lowrank"), { recursive: true });
  await writeFile(join(app, "package.json"), '{"type": "module"}');
  const { dependencies, optionalDependencies } = JSON.parse(
    await readFile(join(root, "package.json"), "utf8"),
  ) as Manifest;
  for (const name of [...Object.keys({ ...dependencies, ...optionalDependencies }), "@types/node", "onnxruntime-web"]) {
    const link = join(app, "node_modules", name);
    await mkdir(dirname(link), { recursive: true });
    await symlink(join(root, "node_modules", name), link, "junction");
  }
  await writeFile(join(app, "model.onnx"), encodeModel(smallClassifier()));
  await writePhotos(join(app, "photos"), 2);
  await writeFile(join(app, "consumer.ts"), CONSUMER);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** What a user of the library writes first. */
const CONSUMER = `import { type CompressReport, compress, LowrankError, openDataset, readModelFile, writeModelFile } from "lowrank";

const model = await readModelFile("model.onnx");
const data = await openDataset("photos");
const options = { data, macs: 0.7, preprocess: { preset: "unit" }, seconds: 0.01 };
const result = await compress(model, options);
const { macs, agreement }: CompressReport = result.report;
await writeModelFile("small.onnx", result.model);
const code = await readModelFile("none.onnx").catch((error: unknown) => error instanceof LowrankError && error.code);
console.log(JSON.stringify([macs.after < macs.before, typeof agreement, code]));
// @ts-expect-error a budget is a number
void (() => compress(model, { macs: "0.7" }));
`;

test("holds what a user needs and nothing else", async () => {
  const files = await readdir(join(app, "package"), { recursive: true, withFileTypes: true });
  const paths = files.filter((file) => file.isFile()).map((file) => join(file.parentPath, file.name));
  const names = paths.map((path) => path.slice(join(app, "package/").length).replaceAll("\\", "/"));
  expect(names).toEqual(expect.arrayContaining(["package.json", "LICENSE", "dist/index.js", "dist/index.d.ts"]));
  const digits = "examples\\/(score-(coco|regression)\\.mjs|digits\\.onnx|digits-(un)?seen\\.npz|NOTICE)";
  const wanted = new RegExp(`^(package\\.json|LICENSE|README\\.md|CHANGELOG\\.md|${digits}|dist\\/.+\\.(js|d\\.ts))$`);
  expect(names.filter((name) => !wanted.test(name) || /^dist\/cli\/.*\.d\.ts$/.test(name))).toEqual([]);
  const { bin } = JSON.parse(await readFile(join(app, "package/package.json"), "utf8")) as Manifest;
  expect(names).toContain(bin.lowrank);
});

test("its command runs", async () => {
  const main = join(app, "node_modules/lowrank/dist/cli/main.js");
  expect((await readFile(main, "utf8")).split("\n", 1)).toEqual(["#!/usr/bin/env node"]);
  expect(run(process.execPath, [main, "--help"], { cwd: app })).toContain("compress");
  const { layers } = JSON.parse(run(process.execPath, [main, "inspect", "model.onnx", "--json"], { cwd: app }));
  expect(layers.map(({ name }: { name: string }) => name)).toEqual(["conv1", "conv2", "fc1", "fc2"]);
});

test("it has what reproduce needs: the network and digits for it", async () => {
  const main = join(app, "node_modules/lowrank/dist/cli/main.js");
  const args = [main, "reproduce", "-o", "results", "--images", "64"];
  const child = spawn(process.execPath, args, { cwd: app, stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (text) => {
    said += text;
    if (said.includes("measuring") && !child.killed) child.kill("SIGINT");
  });
  const code = await new Promise((resolve) => child.on("close", resolve));
  expect([code, said]).toEqual([130, expect.stringContaining("the same command goes on from there")]);
  expect(await readdir(join(app, "results"))).toContain("points.jsonl");
});

test.runIf(existsSync("/dev/full"))("its command says so where standard output is full", () => {
  const main = join(app, "node_modules/lowrank/dist/cli/main.js");
  const full = openSync("/dev/full", "w");
  const { status, stderr } = spawnSync(process.execPath, [main, "inspect", "model.onnx"], {
    cwd: app,
    stdio: ["ignore", full, "pipe"],
    encoding: "utf8",
  });
  closeSync(full);
  expect([status, stderr]).toEqual([2, "lowrank: standard output cannot be written: the disk is full\n"]);
});

test("without ONNX Runtime's binary the command says so in one line", async () => {
  const bare = join(folder, "bare");
  await cp(join(app, "package"), bare, { recursive: true });
  const main = join(bare, "dist/cli/main.js");
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, "--help"], { cwd: bare, encoding: "utf8" });
  expect([status, stdout]).toEqual([2, ""]);
  expect(stderr).toMatch(/^lowrank: a package that it needs cannot be loaded: Cannot find package '.*\n$/);
  expect(stderr.trim().split("\n")).toHaveLength(1);
});

test.each([
  ["nodenext", "nodenext"],
  ["bundler", "esnext"],
])("its types serve a strict project with moduleResolution %s, and the code runs", async (moduleResolution, module) => {
  const outDir = join(app, `out-${moduleResolution}`);
  const options = { strict: true, module, moduleResolution, target: "es2022", lib: ["es2023"], types: ["node"] };
  const config = { compilerOptions: { ...options, skipLibCheck: false, outDir }, files: ["consumer.ts"] };
  await writeFile(join(app, "tsconfig.json"), JSON.stringify(config));
  run(process.execPath, [tsc, "-p", "tsconfig.json"], { cwd: app });
  const printed = run(process.execPath, [join(outDir, "consumer.js")], { cwd: app });
  expect(JSON.parse(printed)).toEqual([true, "number", "bad-model"]);
  expect(await readdir(app)).toContain("small.onnx");
});

test("bundles for a page without anything of Node", async () => {
  const stdin = { contents: 'export { compress, configureWeb } from "lowrank/web";', resolveDir: app };
  const options = { stdin, bundle: true, write: false, metafile: true, format: "esm", platform: "browser" } as const;
  const { metafile, warnings } = await build({ ...options, logLevel: "silent" });
  expect(warnings).toEqual([]);
  const inputs = Object.keys(metafile.inputs);
  expect(inputs.some((name) => name.includes("platform.web.js"))).toBe(true);
  expect(inputs.some((name) => name.includes("onnxruntime-web"))).toBe(true);
  expect(inputs.filter((name) => /onnxruntime-node|sharp|\.node\.js$|dist\/cli/.test(name))).toEqual([]);
});

test("every type that a public type or function names is public too", async () => {
  const dist = join(app, "node_modules/lowrank/dist");
  const declared = (file: string) => readFile(join(dist, file.replace(/\.js$/, ".d.ts")), "utf8");
  const names = (list: string) => list.split(",").map((name) => name.trim().replace(/^type /, ""));
  const from = new Map<string, string>();
  for (const [, list, file] of (await declared("index.d.ts")).matchAll(
    /export (?:type )?\{([^}]*)\} from "(\.[^"]+)"/g,
  )) {
    for (const name of names(list!)) from.set(name, file!.replace(/\.ts$/, ".js"));
  }
  const hidden: string[] = [];
  let looked = 0;
  for (const [name, file] of from) {
    const text = (await declared(file)).replace(/\/\*[\s\S]*?\*\//g, "");
    const start = text.search(new RegExp(`export (declare )?(interface|function|type|class) ${name}\\b`));
    // Passed on from another file, or a value.
    if (start < 0) continue;
    looked++;
    const [own = ""] = text.slice(start + 1).split(/\n(?:export|declare|interface|type|import) /);
    const imported = [...text.matchAll(/import (?:type )?\{([^}]*)\}/g)].flatMap(([, list]) => names(list!));
    const known = new Set([
      ...imported,
      ...Array.from(text.matchAll(/\b(?:interface|type|class) ([A-Z]\w*)/g), (found) => found[1]!),
    ]);
    for (const [used] of own.matchAll(/\b[A-Z]\w*\b/g))
      if (known.has(used) && !from.has(used)) hidden.push(`${used} of ${name}`);
  }
  expect(looked).toBeGreaterThan(100);
  expect(hidden).toEqual([]);
});
