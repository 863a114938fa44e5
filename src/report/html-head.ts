// What a report says first: the few numbers, whether what was asked for is kept and how certain that is, and on which images it was
// measured.

import { dropOfWhat, headLines } from "./answers.ts";
import { accuracy, BUSY, bytes, count, digits, interval, milliseconds, percent, plural } from "./format.ts";
import type { PageFact } from "./page.ts";
import type { BeforeAfter, CompressReport, PromiseReport } from "./report.ts";

/** Numbers for the cards at the top. */
export function factsOf(report: CompressReport): readonly PageFact[] {
  const { macs, params, bytes: size } = report;
  return [
    speedFact(report),
    ...answersFact(report),
    ratioFact(macs, "fewer MACs", `${count(macs.before)} → ${count(macs.after)} for one image`),
    ratioFact(
      size,
      "smaller file",
      `${bytes(size.before)} → ${bytes(size.after)}; ${count(params.before)} → ${count(params.after)} parameters`,
    ),
    ...promiseFact(report),
  ];
}

function speedFact({ latency }: CompressReport): PageFact {
  const { beforeMs, afterMs, speedup, ci95, decided, busy } = latency;
  const medians = `medians ${milliseconds(beforeMs)} → ${milliseconds(afterMs)}`;
  const what = decided ? "as fast, run by run in turn" : "no difference in speed";
  const label = `${what}: ${interval(ci95, digits)}; ${medians}${busy ? `; ${BUSY}` : ""}`;
  return { value: `${digits(speedup)}×`, label };
}

function answersFact({ accuracy: top1, answers }: CompressReport): readonly PageFact[] {
  if (top1 !== null) {
    const range = interval(top1.ci95, (value) => value.toFixed(2));
    const label = `points of top-1 ${top1.drop < 0 ? "gained" : "lost"}: ${accuracy(top1.before)} → ${accuracy(top1.after)}, drop's ${range}`;
    return [{ value: Math.abs(top1.drop).toFixed(2), label }];
  }
  if (answers?.custom) return [{ value: answers.drop!.toFixed(2), label: "points of your score lost" }];
  if (answers === null || answers.score === null) return [];
  return headLines(answers).map(([label, text], i) => {
    const { share } = answers.heads[i]!;
    return { value: share === null ? "none" : percent(share), label: `${label}: ${text}` };
  });
}

function ratioFact({ before, after }: BeforeAfter, what: string, told: string): PageFact {
  return { value: after > 0 ? `${digits(before / after)}×` : "none", label: `${what}: ${told}` };
}

function promiseFact({ promise }: CompressReport): readonly PageFact[] {
  const most = promise?.goals.maxDrop;
  if (promise === null || most == null) return [];
  const asked = `at most ${plural(most, "point")} lost`;
  if (promise.certain === null) return [{ value: "Kept", label: asked }];
  const how = promise.certain
    ? "certain: the whole 95% interval keeps it"
    : "as measured; the 95% interval reaches past it";
  return [{ value: "Kept", label: `${asked}, ${how}` }];
}

/** What was asked for, in one line. */
export function goalsText(promise: PromiseReport | null): string {
  if (promise === null) return "a plan that was given";
  const { macs, params, speed, maxDrop } = promise.goals;
  const parts = [
    maxDrop === null ? [] : [`at most ${plural(maxDrop, "point")} lost`],
    speed === null ? [] : [`at least ${digits(speed)} times as fast`],
    macs === null ? [] : [`at most ${percent(macs)} of the MACs`],
    params === null ? [] : [`at most ${percent(params)} of the parameters`],
  ].flat();
  return parts.join(", ");
}

/** What was done, and what the numbers rest on. */
export function storyOf(report: CompressReport): readonly string[] {
  const { layers, folded, images, finetune } = report;
  const replaced = layers.filter(({ method }) => method !== null).length;
  const done =
    replaced === 0
      ? `None of ${plural(layers.length, "layer")} was replaced: the network is as it was.`
      : `${replaced} of ${plural(layers.length, "layer")} ${replaced === 1 ? "was" : "were"} replaced by smaller ones in a row.`;
  const norms = folded === 0 ? "" : ` ${plural(folded, "BatchNormalization")} had been folded into the layers before.`;
  return [
    done + norms,
    imagesText(images),
    ...(finetune === null ? [] : [tuningText(finetune)]),
    promiseText(report),
  ].filter((sentence) => sentence !== "");
}

function imagesText({ calibration, choice, measured }: CompressReport["images"]): string {
  if (calibration === 0 && measured === 0) return "There were no images: only the weights were looked at.";
  const chosen = choice === 0 ? "" : `, ${choice} served to choose among networks`;
  return `${plural(calibration, "image")} served to fit${chosen}, and ${measured} to measure what came out.`;
}

function tuningText({ loss, epochs, images, joint }: NonNullable<CompressReport["finetune"]>): string {
  const all = joint === null || joint.epochs === 0 ? "" : `; ${digits(joint.epochs)} of these for all weights together`;
  return `Up to ${plural(epochs, "epoch")} of ${loss} on ${plural(images.train, "image")} tuned the weights${all}.`;
}

/** How certain it is that the drop keeps within what was promised. */
function promiseText({ promise, images, answers, accuracy: top1 }: CompressReport): string {
  const most = promise?.goals.maxDrop;
  if (promise === null || most == null || promise.certain === null) return "";
  const on = `on ${plural(images.measured, "image")}${images.choice > 0 ? " that had no part in the choice" : ""}`;
  const what = `of ${dropOfWhat(answers, top1 !== null)}`;
  if (promise.certain) {
    return `The promise of at most ${plural(most, "point")} ${what} lost is kept ${on}, and by the whole interval of the drop.`;
  }
  const luck = "The interval of the drop reaches past it: only more images would make it certain.";
  return `The promise of at most ${plural(most, "point")} ${what} lost is kept ${on}. ${luck}`;
}
