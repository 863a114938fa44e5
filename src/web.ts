// The public API for pages: all of it, and where the page has ONNX Runtime's WebAssembly build.

export * from "./index.ts";
export { configureWeb, type WebOptions } from "./runtime/web.ts";
