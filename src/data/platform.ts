// What the platform does for the library: files, folders and image decoding. Types alone: these are what `#platform` says to
// TypeScript, whatever it resolves to at run time, platform.node.ts or platform.web.ts. A test holds both to it.

import type { Model } from "../graph/model.ts";
import type { Dataset } from "./dataset.ts";
import type { WriteModelOptions } from "./model-file.node.ts";

type InNode = typeof import("./platform.node.ts");

/**
 * Opens images as a data set.
 * @param source in Node a path: a folder of class folders, a flat folder of images, an .npz or .npy, or an IDX file whose
 *   labels stand beside it (MNIST's). In a browser the files that a page was given: those from folders have their folder as
 *   class.
 * @throws LowrankError `bad-data` saying what was found and what would be right
 */
export declare function openDataset(source: string | readonly File[]): Promise<Dataset>;

/**
 * Reads an ONNX model and the weights that it keeps in other files beside it.
 * @param source a path in Node, an address in a browser
 * @throws LowrankError `bad-model`, beginning with the file's name
 */
export declare function readModelFile(source: string): Promise<Model>;

/**
 * Writes a model whole or not at all. Only in Node: in a browser offer the bytes of `encodeModel`.
 * @throws LowrankError `bad-option` if it cannot be written there, `interrupted`; `unsupported` in a browser
 */
export declare function writeModelFile(path: string, model: Model, options?: WriteModelOptions): Promise<void>;

/** Brings pixels to another size or number of channels. */
export declare const resizePixels: InNode["resizePixels"];

/** An image as a PNG in the text of a data: address, for a page that has all within itself. */
export declare const encodePng: InNode["encodePng"];

// For the command line, and so in Node alone.
export declare const readModelFiles: InNode["readModelFiles"];
export declare const stageModelFile: InNode["stageModelFile"];
export declare const writeAtomically: InNode["writeAtomically"];
