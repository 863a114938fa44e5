// Runs the command line as its users do, in a process of its own, on files in a temporary folder.

import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { vi } from "vitest";
import { main } from "../../src/cli/program.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import { smallClassifier } from "./nets.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const MAIN = join(root, "src/cli/main.ts");

export interface Finished {
  /** Null where a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd?: string;
  /** Closes the reading end of standard output at once, as `head` does. */
  readonly closeStdout?: boolean;
  /** Called with everything standard error has said so far, each time it says more. */
  readonly onStderr?: (text: string, child: ChildProcessWithoutNullStreams) => void;
}

/** Runs `lowrank` with these arguments. */
export function lowrank(
  args: readonly string[],
  { cwd = root, onStderr, closeStdout = false }: RunOptions = {},
): Promise<Finished> {
  // Straight through Node, so that a signal reaches the command itself and not a wrapper.
  const loader = ["--import", join(root, "node_modules/tsx/dist/loader.mjs"), "-C", "source"];
  const child = spawn(process.execPath, [...loader, MAIN, ...args], { cwd, env: { ...process.env, NO_COLOR: "1" } });
  if (closeStdout) child.stdout.destroy();
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
    onStderr?.(stderr, child);
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
}

/** The same without a new process, for the many small cases: what `lowrank` prints, and its exit code. */
export async function inProcess(args: readonly string[]): Promise<Finished> {
  const said = { stdout: "", stderr: "" };
  const spies = (["stdout", "stderr"] as const).map((name) =>
    vi.spyOn(process[name], "write").mockImplementation((text) => {
      said[name] += text;
      return true;
    }),
  );
  try {
    return { code: await main(args), ...said };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

/** A temporary folder with model.onnx (a small classifier, 3x16x16 in, 10 classes out), to be removed after. */
export async function workFolder(): Promise<{ folder: string; remove: () => Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), "lowrank-cli-"));
  await writeFile(join(folder, "model.onnx"), encodeModel(smallClassifier()));
  return { folder, remove: () => rm(folder, { recursive: true, force: true }) };
}

/** Writes `perClass` PNG images of 16x16 for each of ten classes. */
export async function writePhotos(folder: string, perClass: number): Promise<void> {
  for (let label = 0; label < 10; label++) {
    const inside = join(folder, `class${label}`);
    await mkdir(inside, { recursive: true });
    for (let i = 0; i < perClass; i++) {
      const data = Uint8Array.from(
        { length: 16 * 16 * 3 },
        (_, p) => (p * (label + 3) + i * 37 + ((p * p) % 51)) % 256,
      );
      const image = sharp(data, { raw: { width: 16, height: 16, channels: 3 } });
      await image.png().toFile(join(inside, `${i}.png`));
    }
  }
}

/** What a command printed with --json, its names as code has them. */
export function fromJson<T>(text: string): T {
  const camel = (name: string) =>
    /^[a-z][a-z0-9_]*$/.test(name) ? name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase()) : name;
  const renamed = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(renamed);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([name, own]) => [camel(name), renamed(own)]));
  };
  return renamed(JSON.parse(text)) as T;
}
