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

/** Says so where there is no Chromium; in CI that is an error. */
export function demandChromium(): void {
  if (findChromium() !== null) return;
  const message = "no Chromium found (set CHROMIUM_PATH): the library was not tested in a browser";
  if (process.env.CI) throw new Error(message);
  console.warn(message);
}

export interface Page {
  /** Calls a function that the script exports and awaits its result; arguments and result travel as JSON. */
  call<T>(name: string, ...args: unknown[]): Promise<T>;
  /** What the page has written to its console as errors so far, and exceptions that nothing caught. */
  readonly problems: readonly string[];
  /** Number of web workers that the page runs. */
  workers(): number;
  close(): Promise<void>;
}

const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Bundles `entry`, serves it and opens it. The page is cross-origin isolated, so that WebAssembly may use threads. */
export async function openPage(entry: string, executablePath = findChromium()): Promise<Page> {
  if (executablePath === null) throw new Error("no Chromium found; set CHROMIUM_PATH");
  const server = await serve(await bundle(entry));
  const closeServer = () => new Promise<void>((done) => server.close(() => done()));
  const browser = await chromium.launch({ executablePath, headless: true, args: ARGUMENTS }).catch(async (error) => {
    await closeServer();
    throw error;
  });
  const problems: string[] = [];
  const close = async () => {
    await browser.close();
    server.closeAllConnections();
    await closeServer();
  };
  try {
    const page = await browser.newPage();
    page.on("pageerror", (error) => problems.push(String(error)));
    page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    await page.waitForFunction("globalThis.script !== undefined", undefined, { timeout: 30_000 });
    return { call: (name, ...args) => callIn(page, name, args), problems, workers: () => page.workers().length, close };
  } catch (error) {
    await close();
    throw new Error(`the page of ${entry} did not load: ${problems.join("; ")}`, { cause: error });
  }
}

async function callIn<T>(
  page: { evaluate(code: string): Promise<unknown> },
  name: string,
  args: unknown[],
): Promise<T> {
  const [method, values] = [JSON.stringify(name), JSON.stringify(args)];
  const result = await page.evaluate(
    `(async () => JSON.stringify(await globalThis.script[${method}](...${values})))()`,
  );
  return (result === undefined ? undefined : JSON.parse(result as string)) as T;
}

async function bundle(entry: string): Promise<Uint8Array> {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    format: "esm",
    platform: "browser",
    target: "es2022",
    conditions: ["source"],
    logLevel: "error",
  });
  return outputFiles[0]!.contents;
}

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".wasm": "application/wasm",
};

/** Without these two, a page has no SharedArrayBuffer and so no threads. */
const ISOLATED = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

const HTML = `<!doctype html><link rel="icon" href="data:,"><script type="module">
  globalThis.script = await import("/script.js");
</script>`;

async function serve(script: Uint8Array): Promise<Server> {
  const wasm = dirname(createRequire(import.meta.url).resolve("onnxruntime-web"));
  const fileAt = async (path: string) => {
    if (path === "/index.html") return HTML;
    if (path === "/script.js") return script;
    return /^\/[\w.-]+\.(wasm|mjs)$/.test(path) ? readFile(join(wasm, path)).catch(() => null) : null;
  };
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://127.0.0.1");
    const path = pathname === "/" ? "/index.html" : pathname;
    const body = await fileAt(path);
    if (body === null) return response.writeHead(404).end();
    return response.writeHead(200, { "Content-Type": TYPES[extname(path)], ...ISOLATED }).end(body);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return server;
}
