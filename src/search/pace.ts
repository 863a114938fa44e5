// How factoring keeps to its time: layers with the most MACs first, methods that take each rank at once before those that fit each
// anew, and of the latter no more than a layer's share of the time holds.

import type { Layer } from "../analyze/layers.ts";
import type { Method } from "../approximate/method.ts";
import { type Deadline, isPast, MARKS, secondsInAll, secondsUntil } from "../deadline.ts";

/** What there is time for on one layer. */
export interface Affords {
  /** The methods in the order in which they are tried. */
  readonly inOrder: (methods: readonly Method[]) => readonly Method[];
  /** Whether a method is tried; `any` says whether another has been. */
  readonly one: (method: Method, any: boolean) => boolean;
}

export interface Pace {
  readonly inOrder: readonly Layer[];
  readonly isOver: () => boolean;
  readonly startLayer: (layer: Layer) => Affords;
  /** The layers that were not come to; what was left out is told. */
  readonly left: (scored: ReadonlyMap<string, unknown>) => readonly Layer[];
}

/** Seconds that the methods which fit each rank anew take of a network, where they are tried on as much of it as ever. */
const ITERATIVE_SECONDS = 120;

/** Of the weights that such methods are tried on: their share of the time for factoring, in parts of what they would take. */
export const shareOf = (deadline: Deadline | undefined): number =>
  Math.min(1, (secondsInAll(deadline) * MARKS.factoring) / 2 / ITERATIVE_SECONDS);

/** Everything in the order given without a deadline. */
export function paceOf(open: readonly Layer[], deadline: Deadline | undefined): Pace {
  const inOrder = deadline === undefined ? open : open.toSorted((a, b) => b.macs - a.macs);
  let macsLeft = open.reduce((sum, { macs }) => sum + macs, 0);
  const skipped = new Map<string, number>();
  return {
    inOrder,
    isOver: () => isPast(deadline, MARKS.factoring),
    startLayer({ macs }) {
      const share = secondsUntil(deadline, MARKS.factoring) * (1 - macs / Math.max(macs, macsLeft));
      macsLeft -= macs;
      const one = ({ name, iterative = false }: Method, any: boolean) => {
        const left = secondsUntil(deadline, MARKS.factoring);
        const affordable = !any || (left > 0 && (!iterative || left > share));
        if (deadline === undefined || affordable) return true;
        skipped.set(name, (skipped.get(name) ?? 0) + 1);
        return false;
      };
      const late = ({ iterative = false }: Method) => Number(iterative);
      return { inOrder: (methods) => (deadline ? methods.toSorted((a, b) => late(a) - late(b)) : methods), one };
    },
    left(scored) {
      const layers = open.filter(({ name }) => !scored.has(name));
      if (layers.length > 0) deadline?.onMissed(`${layers.length} of ${open.length} layers, which were left alone`);
      for (const [name, count] of skipped) deadline?.onMissed(`${name} on ${count} layers`);
      return layers;
    },
  };
}
