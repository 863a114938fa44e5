// The learning rate over a run: a linear warm-up, then half a cosine down to zero (Loshchilov and Hutter 2017).

export interface Schedule {
  /** The highest learning rate. */
  readonly rate: number;
  /** Steps of the whole run, and of these the first that warm up. */
  readonly steps: number;
  readonly warmUp: number;
}

/** The learning rate of step t, counted from 0. */
export function rateAt({ rate, steps, warmUp }: Schedule, t: number): number {
  if (t < warmUp) return (rate * (t + 1)) / warmUp;
  const done = (t - warmUp) / Math.max(1, steps - warmUp);
  return (rate * (1 + Math.cos(Math.PI * Math.min(1, done)))) / 2;
}
