// Python for peers: the environment that `npm run peers` makes, else the machine's own.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const own = fileURLToPath(new URL("./peers/.venv/bin/python", import.meta.url));

/** Python with these modules; null, with a word on standard error, where it or one of them is missing. */
export function pythonWith(modules: readonly string[]): string | null {
  const python = existsSync(own) ? own : "python3";
  if (spawnSync(python, ["-c", `import ${modules.join(", ")}`]).status === 0) return python;
  console.error(`Python with ${modules.join(", ")} is missing; \`npm run peers\` installs it`);
  return null;
}
