// Loads the module of --score.

import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { LowrankError, messageOf } from "../errors.ts";
import type { ScoreFunction } from "../measure/custom-score.ts";

/** @throws LowrankError `bad-option` where the module cannot be loaded or exports no function by default */
export async function readScore(path: string): Promise<ScoreFunction> {
  const module = await import(pathToFileURL(resolve(path)).href).catch((error) => {
    throw new LowrankError(
      "bad-option",
      `--score ${path} cannot be loaded: ${messageOf(error)}`,
      { file: path },
      { cause: error },
    );
  });
  if (typeof module.default === "function") return module.default;
  throw new LowrankError(
    "bad-option",
    `--score ${path} must export a function by default: (network, images) => score`,
    { file: path },
  );
}
