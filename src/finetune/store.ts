// Keeps arrays by key: in memory up to a bound, past it in a spill file where the platform has one.

import { LowrankError } from "../errors.ts";

export interface Store {
  put(key: string, values: Float32Array): Promise<void>;
  get(key: string): Promise<Float32Array>;
  dispose(): Promise<void>;
}

/** A file that arrays can be appended to and read back from. */
export interface Spill {
  /** @returns where the bytes begin */
  append(bytes: Uint8Array): Promise<number>;
  read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
  /** Closes the file and removes it. */
  dispose(): Promise<void>;
}

/**
 * @param limit bytes in memory
 * @param spill opens the file when it is first needed; null where there is none
 */
export function createStore(limit: number, spill: (() => Promise<Spill>) | null): Store {
  const memory = new Map<string, Float32Array>();
  const onDisk = new Map<string, { readonly offset: number; readonly length: number }>();
  let bytes = 0;
  let file: Promise<Spill> | null = null;
  return {
    async put(key, values) {
      if (bytes + values.byteLength <= limit) {
        bytes += values.byteLength;
        memory.set(key, values.slice());
        return;
      }
      if (spill === null) {
        const message = `what frozen layers compute takes more than ${Math.round(limit / 1e6)} MB, and there is no disk`;
        throw new LowrankError("unsupported", `${message}: use fewer images`);
      }
      file ??= spill();
      const view = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
      onDisk.set(key, { offset: await (await file).append(view), length: values.byteLength });
    },
    async get(key) {
      const kept = memory.get(key);
      if (kept !== undefined) return kept;
      const { offset, length } = onDisk.get(key)!;
      return new Float32Array((await (await file!).read(offset, length)).buffer);
    },
    async dispose() {
      memory.clear();
      await (await file)?.dispose();
    },
  };
}
