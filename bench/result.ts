// What every benchmark prints: both sides measured in turn in one run.

export interface BenchResult {
  readonly name: string;
  /** Unit of `ours` and `peer`. */
  readonly unit: string;
  readonly ours: number;
  /** Null where the peer is not installed, or where there is none. */
  readonly peer: number | null;
  readonly peer_name: string | null;
  readonly peer_version: string | null;
  /** Above 1 where ours is better. */
  readonly ratio: number | null;
  readonly detail: unknown;
}
