// The sensitivity of a group's widths: how far the network's answers move when channels of that one group are taken out, the layers that
// read them make up for it as the statistics tell, and all else stays. It is measured at a few widths and read off between them by the
// error of each, as sensitivities of candidates are.

import { startCache } from "../analyze/activation-cache.ts";
import { type Calibration, firstImages } from "../analyze/calibration.ts";
import { biasVector, type Layer } from "../analyze/layers.ts";
import type { Answers } from "../answers/head.ts";
import { isPast, MARKS } from "../deadline.ts";
import type { Model } from "../graph/model.ts";
import type { Linalg } from "../linalg/products.ts";
import { digest, type Memo } from "../memo.ts";
import { type Control, checkInterrupted } from "../progress.ts";
import { replaceLayer } from "../rewrite/replace-layer.ts";
import type { SessionOptions } from "../runtime/session.ts";
import { meanLost, narrow, narrowedFactors, ownStage } from "../slim/apply.ts";
import type { Readings, ScoredGroup, Width } from "../slim/scored.ts";
import { affordableImages, anchors, LEAST_IMAGES, meanDivergence, sensitivityAt, walk } from "./sensitivity.ts";

/** Widths of a group that are measured, and how many where that would take too long. */
const MEASURED = 3;
const FEW = 2;

/** Images, as many as all runs together may take so many multiply-accumulates for. */
const MOST_IMAGES = 256;
const MACS = 2e12;

/** A network and what its layers' statistics say. */
export interface Narrowable {
  readonly model: Model;
  readonly layers: readonly Layer[];
  readonly groups: readonly ScoredGroup[];
  readonly readings: Readings;
  /** The layers of a model. */
  readonly find: (model: Model) => readonly Layer[];
}

/** @returns by width; a group that there was no time for has none, and is left as it is */
export async function measureWidths(
  la: Linalg,
  { groups, ...network }: Narrowable,
  calibration: Calibration,
  answers: Answers,
  { session, memo }: { readonly session: SessionOptions; readonly memo: Memo },
  control: Control,
): Promise<ReadonlyMap<Width, number>> {
  const { model, layers } = network;
  const order = new Map(model.graph.nodes.map((node, index) => [node, index]));
  const startOf = ({ group }: ScoredGroup) => Math.min(...group.sites.map(({ site }) => order.get(site.node)!));
  const open = groups.filter(({ widths }) => widths.length > 0).toSorted((a, b) => startOf(a) - startOf(b));
  const total = layers.reduce((sum, { macs }) => sum + macs, 1);
  if (open.length === 0) return new Map();
  const macs = (widths: number) => (total * widths * open.length) / 2;
  const measuredWidths = LEAST_IMAGES * macs(MEASURED) <= MACS ? MEASURED : FEW;
  const most = Math.floor(MACS / macs(measuredWidths));
  const keepable = await affordableImages(model, calibration, answers, session, control);
  const images = firstImages(calibration, Math.min(keepable, MOST_IMAGES, Math.max(LEAST_IMAGES, most)));
  const nodes = open.map((one) => model.graph.nodes[startOf(one)]!);
  const reach = walk(model, nodes, startCache(images, session), answers, control);
  const found = new Map<Width, number>();
  for (const [done, one] of open.entries()) {
    checkInterrupted(control);
    if (isPast(control.deadline, MARKS.sensitivities)) {
      control.deadline?.onMissed(`widths of ${open.length - done} of ${open.length} groups of channels`);
      break;
    }
    control.onProgress?.({ phase: "sensitivities", done, total: open.length, note: `channels of ${one.name}` });
    const asked = await digest([JSON.stringify([measuredWidths, images.count, one.widths])]);
    const each = await memo(JSON.stringify(["widths", one.name, asked]), async () => {
      const { reference, cache } = await reach(done);
      const measured: { error: number; sensitivity: number }[] = [];
      for (const width of anchors(one.widths, measuredWidths)) {
        const narrowed = await narrowedModel(la, network, one, width.keep);
        const sensitivity = await meanDivergence(reference, cache, narrowed, answers, control);
        measured.push({ error: width.error, sensitivity });
      }
      return one.widths.map(({ error }) => sensitivityAt(error, measured));
    });
    for (const [i, width] of one.widths.entries()) found.set(width, each[i]!);
  }
  control.onProgress?.({ phase: "sensitivities", done: open.length, total: open.length });
  return found;
}

/** The network with one group narrowed. */
async function narrowedModel(
  la: Linalg,
  { model, layers, readings, find }: Omit<Narrowable, "groups">,
  group: ScoredGroup,
  keep: number,
): Promise<Model> {
  const narrowed = narrow(model, layers, new Map([[group, keep]]), find);
  let changed = narrowed.model;
  for (const name of group.group.readers) {
    const { layer, patches, mean } = readings.get(name)!;
    const [own, sides] = [narrowed.layers.get(name)!, narrowed.sides.get(name)!];
    const factors = await narrowedFactors(la, { stages: [ownStage(layer)] }, layer, sides, patches);
    const lost = mean === null ? null : meanLost(layer, factors.stages[0]!, sides, mean);
    const bias = own.bias === null && lost === null ? null : biasVector(own);
    changed = replaceLayer(changed, own, factors, bias?.map((value, f) => value + (lost?.[f] ?? 0)) ?? null).model;
  }
  return changed;
}
