// Settings of ONNX Runtime's WebAssembly build, for pages. In Node they have no effect.

import * as ort from "#ort";

export interface WebOptions {
  /** Where the page finds ONNX Runtime's .wasm and .mjs files: a URL that ends with a slash, or the URL of each file. */
  readonly wasmPaths?: string | { readonly wasm?: string | URL; readonly mjs?: string | URL };
  /** Threads of all sessions together; by default half the cores, at most 4. Always 1 unless `crossOriginIsolated`. */
  readonly numThreads?: number;
}

/** Must be called before the first session is opened: the WebAssembly module is loaded once and then stays as it is. */
export function configureWeb({ wasmPaths, numThreads }: WebOptions): void {
  const { wasm } = ort.env;
  if (wasmPaths !== undefined) wasm.wasmPaths = wasmPaths;
  if (globalThis.crossOriginIsolated !== true) wasm.numThreads = 1;
  else if (numThreads !== undefined) wasm.numThreads = numThreads;
  wasm.proxy = false;
}
