// A score for detectors on boxes in COCO's format: for `lowrank compress --score examples/score-coco.mjs`. It is the F1 of the objects found
// (IoU 0.5, same class), one number an image. The annotations (instances_*.json) are named by the environment variable ANNOTATIONS. The
// network is one of YOLOv8's kind: an output [N, 4 + K, A] with boxes as centre and size in pixels of its input, then K probabilities.

import { readFileSync } from "node:fs";
import { basename } from "node:path";

const CONFIDENCE = 0.25;
const SUPPRESSED = 0.45;
const OVERLAP = 0.5;

const file = process.env.ANNOTATIONS;
if (file === undefined) throw new Error("name the annotations: ANNOTATIONS=instances_val2017.json");
const { images, annotations, categories } = JSON.parse(readFileSync(file, "utf8"));
/** Classes are numbered in the order of the categories' ids. */
const classOf = new Map([...categories].sort((a, b) => a.id - b.id).map(({ id }, k) => [id, k]));
const imageOf = new Map(images.map((image) => [image.id, image]));
/** True boxes by file name, as shares of the image's sides, since images are stretched to the input's size. */
const truth = new Map(images.map(({ file_name }) => [basename(file_name), []]));
for (const { image_id, category_id, bbox, iscrowd } of annotations) {
  const image = imageOf.get(image_id);
  if (iscrowd || image === undefined) continue;
  const [x, y, w, h] = bbox;
  const box = [x / image.width, y / image.height, (x + w) / image.width, (y + h) / image.height];
  truth.get(basename(image.file_name)).push({ box, class: classOf.get(category_id) });
}

export default async function score(network, batches) {
  const scores = [];
  for await (const { inputs, names } of batches) {
    const [input] = Object.values(inputs);
    const [height, width] = input.dims.slice(-2);
    const [output] = Object.values(await network(inputs));
    for (const [i, name] of names.entries()) {
      const wanted = truth.get(basename(name));
      if (wanted === undefined) throw new Error(`${file} has no image ${basename(name)}`);
      scores.push(f1(wanted, suppressed(detections(output, i, width, height))));
    }
  }
  return scores;
}

/** Of one image: its boxes as shares of the sides, the best first. */
function detections({ dims: [, rows, A], data }, image, width, height) {
  const at = (row, a) => data[(image * rows + row) * A + a];
  const found = [];
  for (let a = 0; a < A; a++) {
    let best = 4;
    for (let row = 5; row < rows; row++) if (at(row, a) > at(best, a)) best = row;
    if (!(at(best, a) >= CONFIDENCE)) continue;
    const [x, y, w, h] = [at(0, a) / width, at(1, a) / height, at(2, a) / width, at(3, a) / height];
    found.push({ box: [x - w / 2, y - h / 2, x + w / 2, y + h / 2], class: best - 4, score: at(best, a) });
  }
  return found.sort((a, b) => b.score - a.score);
}

/** Without those that a better one of their class overlaps. */
function suppressed(sorted) {
  const kept = [];
  for (const one of sorted) {
    if (!kept.some((other) => other.class === one.class && iou(other.box, one.box) > SUPPRESSED)) kept.push(one);
  }
  return kept;
}

/** Each object found, the best first, takes the true one of its class that it overlaps the most. */
function f1(wanted, found) {
  if (wanted.length + found.length === 0) return 1;
  const open = [...wanted];
  let hits = 0;
  for (const one of found) {
    const overlaps = open.map((other) => (other.class === one.class ? iou(other.box, one.box) : 0));
    const most = Math.max(0, ...overlaps);
    if (most < OVERLAP) continue;
    open.splice(overlaps.indexOf(most), 1);
    hits++;
  }
  return (2 * hits) / (wanted.length + found.length);
}

function iou(a, b) {
  const side = (from, to) => Math.max(0, Math.min(a[to], b[to]) - Math.max(a[from], b[from]));
  const both = side(0, 2) * side(1, 3);
  const area = ([left, top, right, bottom]) => (right - left) * (bottom - top);
  return both / (area(a) + area(b) - both || 1);
}
