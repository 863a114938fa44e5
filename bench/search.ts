// npm run -s bench -- search [NAME...] [--yolo FILE]: seconds and memory of whole searches, each in a process of its own, by phase.

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { BenchResult } from "./result.ts";
import { cifar10, photographs, sharedModel } from "./shared.ts";

interface Case {
  readonly name: string;
  readonly model: string;
  readonly data: () => string;
  readonly flags: readonly string[];
  /** Seconds that a search shall take at most on two quiet cores. */
  readonly aim: number | null;
}

function cases(yolo: string | null): readonly Case[] {
  const detector = (file: string): Case => ({
    ...{ name: "yolo", model: file, data: photographs, aim: 240 },
    flags: ["--speed", "1.3", "--images", "256", "--preset", "unit", "--size", "320"],
  });
  return [
    ...(yolo === null ? [] : [detector(yolo)]),
    {
      name: "efficientnet-lite0",
      model: sharedModel("efficientnet-lite0.onnx"),
      data: photographs,
      flags: ["--max-drop", "2", "--preset", "imagenet", "--mean", "0.498", "--std", "0.502"],
      aim: 240,
    },
    {
      name: "resnet20-cifar10",
      model: sharedModel("resnet20-cifar10.onnx"),
      data: () => `${cifar10()}/train`,
      flags: ["--max-drop", "1", "--preset", "imagenet", "--size", "32"],
      aim: null,
    },
  ];
}

/** Arguments: names of networks, by default all. */
export async function searchBench(args: readonly string[]): Promise<BenchResult> {
  const at = args.indexOf("--yolo");
  const yolo = at < 0 ? null : (args[at + 1] ?? null);
  const names = args.filter((arg, i) => !arg.startsWith("--") && (at < 0 || i !== at + 1));
  const detail = cases(yolo)
    .filter(({ name }) => names.length === 0 || names.includes(name))
    .map(measured);
  const ours = detail.reduce((sum, { seconds }) => sum + (seconds ?? 0), 0) / Math.max(1, detail.length);
  const peer = { peer: null, peer_name: null, peer_version: null, ratio: null };
  return { name: "search", unit: "seconds, mean of searches", ours, ...peer, detail };
}

function measured({ name, model, data, flags, aim }: Case) {
  const worker = fileURLToPath(new URL("./search-worker.ts", import.meta.url));
  const args = ["--import", "tsx", "-C", "source", worker, model, data(), ...flags];
  process.stderr.write(`${name} ${flags.join(" ")}\n`);
  const { stdout, status } = spawnSync(process.execPath, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (status !== 0) return { name, asked: flags.join(" "), seconds: null, failed: status };
  return { name, asked: flags.join(" "), aim, ...(JSON.parse(stdout) as { seconds: number }) };
}
