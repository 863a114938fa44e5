import { mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { inProcess, workFolder } from "../support/cli.ts";

let folder: string;
let remove: () => Promise<void>;

beforeAll(async () => {
  ({ folder, remove } = await workFolder());
  await writeFile(join(folder, "text.onnx"), "this is not a model\n");
  await mkdir(join(folder, "empty"));
  await symlink(join(folder, "model.onnx"), join(folder, "link.onnx"));
  process.chdir(folder);
});
afterAll(async () => {
  process.chdir(before);
  await remove();
});

const before = process.cwd();
const run = (...args: string[]) => inProcess(args);

describe("help", () => {
  test("without arguments: on standard output, exit 0, every command named", async () => {
    const { code, stdout, stderr } = await run();
    expect(code).toBe(0);
    expect(stderr).toBe("");
    for (const command of ["inspect", "eval", "bench", "compress"])
      expect(stdout).toMatch(new RegExp(`^  ${command} `, "m"));
  });

  test("help COMMAND is COMMAND --help", async () => {
    expect(await run("help", "compress")).toEqual(await run("compress", "--help"));
    expect(await run("help")).toEqual(await run("--help"));
  });

  test.each(["inspect", "eval", "bench", "compress"])(
    "%s --help ends with examples of that command",
    async (command) => {
      const { code, stdout } = await run(command, "--help");
      expect(code).toBe(0);
      const examples = stdout.slice(stdout.indexOf("Examples:")).trim().split("\n").slice(1);
      expect(examples.length).toBeGreaterThanOrEqual(2);
      expect(examples.length).toBeLessThanOrEqual(4);
      for (const line of examples) expect(line).toMatch(new RegExp(`^  \\$ lowrank ${command} model\\.onnx .*# `));
    },
  );

  test("--version is that of package.json", async () => {
    const { version } = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8")) as {
      version: string;
    };
    const { code, stdout } = await run("--version");
    expect([code, stdout.trim()]).toEqual([0, version]);
  });
});

describe("usage errors: exit 2, one clear line and where to look, nothing on standard output", () => {
  const out = ["-o", "out.onnx"];
  test.each<[string[], RegExp]>([
    [["shrink", "model.onnx"], /^lowrank: unknown command 'shrink'/],
    [["inspect"], /^lowrank: missing required argument 'model'/],
    [["eval", "model.onnx"], /^lowrank: required option '--data <data>' not specified/],
    [["compress", "model.onnx", "--macs", "0.5"], /^lowrank: required option '-o, --output <file>' not specified/],
    [["compress", "model.onnx", ...out, "--macs", "2"], /^lowrank: option '--macs <share>' argument '2' is invalid/],
    [["compress", "model.onnx", ...out, "--macs", "0"], /argument '0' is invalid. Expected a share/],
    [["compress", "model.onnx", ...out, "--macs", "half"], /argument 'half' is invalid/],
    [["compress", "model.onnx", ...out, "--params", "120%"], /argument '120%' is invalid/],
    [
      ["compress", "model.onnx", ...out, "--macs", "0.5", "--seed", "1.5"],
      /argument '1.5' is invalid. Expected a whole number/,
    ],
    [["compress", "model.onnx", ...out, "--macs", "0.5", "--metric", "l1"], /argument 'l1' is invalid/],
    [
      ["compress", "model.onnx", ...out, "--macs", "0.5", "--plan", "p.json"],
      /cannot be used with option '--macs <share>'/,
    ],
    [["bench", "model.onnx", "--threads", "0"], /argument '0' is invalid. Expected a whole number from 1 to 1024/],
    [["bench", "model.onnx", "--batch", "100000"], /argument '100000' is invalid. Expected a whole number from 1 to/],
    [["compress", "model.onnx", "-o", "", "--macs", "0.5"], /argument '' is invalid. Expected the name of a file/],
    [["compress", "", "-o", "x.onnx", "--macs", "0.5"], /value '' is invalid for argument 'model'. Expected the name/],
    [["eval", "model.onnx", "--data", ""], /argument '' is invalid. Expected the name of a file/],
    [["compress", "model.onnx", ...out, "--plan", ""], /argument '' is invalid. Expected the name of a file/],
    [["inspect", "model.onnx", "--mean", "0.5,,1"], /argument '0.5,,1' is invalid. Expected numbers/],
  ])("%j", async (args, message) => {
    const { code, stdout, stderr } = await run(...args);
    expect(code).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toMatch(message);
    const lines = stderr.trim().split("\n");
    expect(lines.at(-1)).toMatch(/^See lowrank( \w+)? --help$/);
    expect(lines.length).toBeLessThanOrEqual(3);
  });
});

describe("bad input: exit 2, one line, no stack", () => {
  const goal = ["--macs", "0.5"];
  test.each<[string[], RegExp]>([
    [["inspect", "missing.onnx"], /missing\.onnx cannot be read: no such file/],
    [["inspect", "text.onnx"], /text\.onnx/],
    [["inspect", "empty"], /empty is not a file/],
    [["inspect", "model.onnx", "--size", "8"], /--size 8: the input image is fixed at 16x16/],
    [["eval", "model.onnx", "--data", "missing"], /missing: no such file or folder/],
    [["eval", "model.onnx", "--data", "empty"], /empty holds no images/],
    [["bench", "model.onnx", "missing.onnx"], /missing\.onnx cannot be read/],
    [["compress", "model.onnx", "-o", "out.onnx"], /--macs/],
    [
      ["compress", "model.onnx", "-o", "out.onnx", ...goal, "--methods", "magic"],
      /no method is called magic; there are /,
    ],
    [["compress", "model.onnx", "-o", "model.onnx", ...goal], /cannot write model\.onnx: it is the input/],
    [["compress", "model.onnx", "-o", "link.onnx", ...goal], /cannot write link\.onnx: it is the input/],
    [["compress", "link.onnx", "-o", "model.onnx", ...goal], /cannot write model\.onnx: it is the input/],
    [
      ["compress", "model.onnx", "-o", "nowhere/out.onnx", ...goal],
      /cannot write nowhere\/out\.onnx: there is no folder/,
    ],
    [["compress", "model.onnx", "-o", "empty", ...goal], /cannot write empty: it exists and is not a file/],
    [["compress", "model.onnx", "-o", "new/", ...goal], /cannot write new\/: it names a folder; give a file/],
    [["bench", "model.onnx", "--batch", "65536", "--size", "16384"], /--size 16384: the input image is fixed at 16x16/],
    [["compress", "model.onnx", "-o", "o.onnx", ...goal, "--save-plan", "o.onnx"], /cannot write o\.onnx: it is the /],
    [["compress", "model.onnx", "-o", "o.onnx", ...goal, "--report", "o.onnx"], /cannot write o\.onnx: it is the /],
    [
      ["compress", "model.onnx", "-o", "o.onnx", ...goal, "--report", "link.onnx"],
      /cannot write link\.onnx: it is the /,
    ],
    [
      ["compress", "model.onnx", "-o", "o.onnx", ...goal, "--save-plan", "p", "--report", "p"],
      /cannot write p: it is the /,
    ],
    [["compress", "model.onnx", "-o", "out.onnx", "--plan", "none.json"], /none\.json: no such file/],
    [["compress", "model.onnx", "-o", "out.onnx", "--plan", "text.onnx"], /the plan is not JSON/],
    [["compress", "model.onnx", "-o", "out.onnx", ...goal, "--metric", "covariance"], /covariance metric needs images/],
  ])("%j", async (args, message) => {
    const { code, stdout, stderr } = await run(...args);
    expect(code).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toMatch(message);
    expect(
      stderr
        .trim()
        .split("\n")
        .filter((line) => line.startsWith("lowrank: ")),
    ).toHaveLength(1);
    expect(stderr).not.toMatch(/^ {4}at |bug/m);
  });
});
