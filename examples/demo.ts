// npm run demo: the main job on real input. Paints real handwritten digits in colour, compresses the bundled network to 0.4
// of its multiply-accumulates with them, and leaves files to look at.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { colouredDigits, SEED, writePngFolder } from "./coloured-digits.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const out = join(root, "examples", "out");
const images = join(out, "digits");
const IMAGES = 2000;

await mkdir(out, { recursive: true });
if (!existsSync(join(images, "9"))) {
  console.log(`Painting ${IMAGES} real handwritten digits in colour into ${relative(root, images)}/ ...`);
  await writePngFolder(images, colouredDigits({ train: 0, test: IMAGES }, SEED).test);
}

const model = join("examples", "digits.onnx");
const small = join("examples", "out", "digits-small.onnx");
const data = relative(root, images);
run(["inspect", model]);
run([
  "compress",
  model,
  "-o",
  small,
  "--data",
  data,
  "--images",
  String(IMAGES),
  "--macs",
  "0.4",
  "--preset",
  "imagenet",
]);
console.log(`\nThe compressed network is ${small}; it runs wherever ONNX does. Its images are in ${data}/.`);

function run(args: readonly string[]): void {
  console.log(`\n$ lowrank ${args.join(" ")}\n`);
  const main = join(root, "dist", "cli", "main.js");
  const { status } = spawnSync(process.execPath, [main, ...args], { cwd: root, stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
}
