// Installs the project's packages when they are missing or older than the lock file. Called by `npm test` and
// `npm run demo`, so that either works in a fresh clone; plain JavaScript, because nothing is installed yet.
import { spawnSync } from "node:child_process";
import { existsSync, lstatSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const installed = `${root}node_modules/.package-lock.json`;
const lock = `${root}package-lock.json`;

const fresh = existsSync(installed) && statSync(installed).mtimeMs >= statSync(lock).mtimeMs;
// A second work tree may borrow the first one's packages by a link; npm would empty the folder that it leads to.
const borrowed = lstatSync(`${root}node_modules`, { throwIfNoEntry: false })?.isSymbolicLink() === true;
if (!fresh && !borrowed) {
  process.stderr.write("Installing packages (first run, or the lock file changed)...\n");
  const windows = process.platform === "win32";
  const { status } = spawnSync(windows ? "npm.cmd" : "npm", ["ci", "--ignore-scripts"], {
    cwd: root,
    stdio: ["ignore", "ignore", "inherit"],
    shell: windows,
  });
  if (status !== 0) process.exit(status ?? 1);
}
