// npm run -s bench -- backend-models [FOLDER]: inspects every .onnx file below a folder, such as ONNX's own backend tests, and counts
// what is refused and why. bench/backend-models.py writes that folder with the onnx package.

import { existsSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";
import { readModelFile } from "../src/data/platform.node.ts";
import { LowrankError } from "../src/errors.ts";
import { inspect } from "../src/report/inspect.ts";
import type { BenchResult } from "./result.ts";

const FOLDER = "/tmp/onnx-backend";

export async function backendModels([folder = FOLDER]: readonly string[]): Promise<BenchResult> {
  if (!existsSync(folder)) {
    console.error(
      `${folder} is missing: write it with \`python3 bench/backend-models.py ${folder}\`, which needs onnx`,
    );
    process.exit(2);
  }
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".onnx"));
  const refused: { file: string; code: string; reason: string }[] = [];
  for (const file of files.sort()) {
    try {
      await inspect(await readModelFile(join(folder, file)), { bytes: 0 });
    } catch (error) {
      const code = error instanceof LowrankError ? error.code : "bug";
      refused.push({ file: relative(folder, join(folder, file)), code, reason: String((error as Error).message) });
    }
  }
  const reasons: Record<string, number> = {};
  for (const { code } of refused) reasons[code] = (reasons[code] ?? 0) + 1;
  return {
    ...{ name: "backend-models", unit: "models inspected", ours: files.length - refused.length },
    ...{ peer: null, peer_name: null, peer_version: null, ratio: null },
    detail: { models: files.length, refused: refused.length, reasons, list: refused },
  };
}
