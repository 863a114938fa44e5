// Settings for pages; what they do in one is tested in test/browser.

import { env } from "onnxruntime-node";
import { afterEach, describe, expect, test, vi } from "vitest";
import { configureWeb } from "../../src/runtime/web.ts";

describe("configureWeb", () => {
  afterEach(() => vi.unstubAllGlobals());

  test("one thread unless the page is cross-origin isolated", () => {
    configureWeb({ numThreads: 4 });
    expect(env.wasm.numThreads).toBe(1);
    vi.stubGlobal("crossOriginIsolated", true);
    configureWeb({ numThreads: 4 });
    expect(env.wasm.numThreads).toBe(4);
    vi.stubGlobal("crossOriginIsolated", false);
    configureWeb({});
    expect(env.wasm.numThreads).toBe(1);
  });

  test("paths stay as they are unless given; no proxy", () => {
    configureWeb({ wasmPaths: "/ort/" });
    configureWeb({});
    expect([env.wasm.wasmPaths, env.wasm.proxy]).toEqual(["/ort/", false]);
  });
});
