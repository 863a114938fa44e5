// The data and models that larger checks use, beside the project in ../shared: not part of it, so it may be missing.

import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Dataset } from "../src/data/dataset.ts";

const shared = process.env.LOWRANK_SHARED ?? fileURLToPath(new URL("../../shared", import.meta.url));

/** How the shared models want their images. */
export const PREPROCESS = { preset: "imagenet", size: "32" };

/** Path of a shared model; stops the benchmark where there is none. */
export function sharedModel(name: string): string {
  return need(join(shared, "models", name));
}

/** Unpacks CIFAR-10 as JPEG (folders of classes) once and gives the folder that holds train/ and test/. */
export function cifar10(): string {
  const folder = unpacked("cifar10-jpeg", process.env.LOWRANK_CIFAR10);
  const [only] = readdirSync(folder);
  return existsSync(join(folder, "test")) ? folder : join(folder, only ?? "");
}

/** A folder of photographs without labels. */
export function photographs(): string {
  const folder = unpacked("photographs", process.env.LOWRANK_PHOTOGRAPHS);
  const [only] = readdirSync(folder);
  return existsSync(join(folder, "photographs")) ? join(folder, only ?? "") : folder;
}

/** Where an archive of the shared data has been unpacked: once a process, or before it where the environment says so. */
function unpacked(name: string, known: string | undefined): string {
  if (known !== undefined) return need(known);
  const before = folders.get(name);
  if (before !== undefined) return before;
  const archive = need(join(shared, "data", `${name}.tar.gz`));
  const folder = mkdtempSync(join(tmpdir(), `lowrank-${name}-`));
  execFileSync("tar", ["xzf", archive, "-C", folder]);
  folders.set(name, folder);
  return folder;
}

const folders = new Map<string, string>();

/** The same images without their labels. */
export const unlabelled = (data: Dataset): Dataset => ({ ...data, classes: null, labels: null });

function need(path: string): string {
  if (existsSync(path)) return path;
  console.error(`${path} is missing: this benchmark needs the shared data, which is not part of the project`);
  process.exit(2);
}
