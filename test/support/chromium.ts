// Runs a bundle of the library in a headless Chromium: finds the browser, bundles a page's script as a user's bundler would,
// serves it with ONNX Runtime's wasm files beside it, and calls what the script exports.

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { dirname, extname, join } from "node:path";
import { build } from "esbuild";
import { chromium } from "playwright-core";

const CANDIDATES = [
  process.env.CHROMIUM_PATH,
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  "C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe",
];

/** Path of a Chromium, or null. */
export function findChromium(): string | null {
  return CANDIDATES.find((path) => path !== undefined && existsSync(path)) ?? null;
}

export interface Page {
  /** Calls a function that the script exports; arguments and result travel as JSON. */
  call<T>(name: string, ...args: unknown[]): Promise<T>;
  close(): Promise<void>;
}

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};

/** Bundles `entry`, serves it and opens it. */
export async function openPage(executablePath: string, entry: string): Promise<Page> {
  const bundle = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    format: "esm",
    platform: "browser",
    conditions: ["source"],
    logLevel: "error",
  });
  const server = await serve(bundle.outputFiles[0]!.contents);
  const { port } = server.address() as AddressInfo;
  const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];
  const browser = await chromium.launch({
    executablePath,
    headless: true,
    args: [...args, "--disable-component-update", "--disable-sync"],
  });
  const page = await browser.newPage();
  const problems: string[] = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  await page.goto(`http://127.0.0.1:${port}/`);
  await page.waitForFunction("globalThis.ready === true").catch(() => {
    throw new Error(`the page did not load: ${problems.join("; ")}`);
  });
  return {
    call: (name, ...values) =>
      page.evaluate(`globalThis.script[${JSON.stringify(name)}](...${JSON.stringify(values)})`) as Promise<never>,
    async close() {
      await browser.close();
      await new Promise((done) => server.close(done));
    },
  };
}

async function serve(script: Uint8Array): Promise<Server> {
  const wasm = dirname(createRequire(import.meta.url).resolve("onnxruntime-web"));
  const html = `<!doctype html><script type="module">
    import * as script from "/script.js";
    globalThis.script = script;
    globalThis.ready = true;
  </script>`;
  const server = createServer(async (request, response) => {
    const path = request.url ?? "/";
    const body = path === "/" ? html : path === "/script.js" ? script : await readFile(join(wasm, path)).catch(() => null);
    if (body === null) return response.writeHead(404).end();
    const type = TYPES[extname(path) || ".html"] ?? "application/octet-stream";
    const isolated = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };
    return response.writeHead(200, { "Content-Type": type, ...isolated }).end(body);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return server;
}
