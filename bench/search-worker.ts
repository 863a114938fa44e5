// One search in a process of its own: `lowrank compress` with the flags that are given, and what it took.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { main } from "../src/cli/program.ts";
import type { CompressReport } from "../src/report/report.ts";

const [model = "", data = "", ...flags] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "lowrank-search-"));
const [out, json] = [join(folder, "out.onnx"), join(folder, "report.json")];
const write = process.stdout.write.bind(process.stdout);
process.stdout.write = ((text: string) => {
  writeFileSync(json, text);
  return true;
}) as typeof process.stdout.write;
const start = performance.now();
process.exitCode = await main(["compress", model, "-o", out, "--data", data, "--json", ...flags]);
if (process.exitCode === 0) {
  const report = JSON.parse(readFileSync(json, "utf8")) as CompressReport;
  const { seconds: phases, answers, latency, macs } = report;
  const found = { seconds: (performance.now() - start) / 1000, peak_mb: process.resourceUsage().maxRSS / 1024, phases };
  write(JSON.stringify({ ...found, speedup: latency.speedup, macs: macs.before / macs.after, answers }));
}
rmSync(folder, { recursive: true });
