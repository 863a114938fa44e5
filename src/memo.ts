// Results of long computations by name, so that a run that was stopped goes on from what it had found: `memo(key, compute)` gives
// what was kept under that key, or computes and keeps it.

/** The value must survive JSON; a key says all that the value depends on. */
export type Memo = <T>(key: string, compute: () => Promise<T>) => Promise<T>;

/** Keeps results in memory only. */
export function memoryMemo(): Memo {
  const kept = new Map<string, unknown>();
  return async (key, compute) => {
    if (!kept.has(key)) kept.set(key, await compute());
    return kept.get(key) as Awaited<ReturnType<typeof compute>>;
  };
}

/** A value that is made when it is first asked for. */
export function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | null = null;
  return () => {
    made ??= make();
    return made;
  };
}

/** Bytes by key, for what is too large for JSON. Whoever asks can do without: what is not there is made again. */
export interface ByteStore {
  /** Null where nothing is kept under the key. */
  readonly get: (key: string) => Promise<Uint8Array<ArrayBuffer> | null>;
  /** Takes the bytes in pieces; keeps nothing where it has no room. */
  readonly put: (key: string, pieces: readonly Uint8Array<ArrayBuffer>[]) => Promise<void>;
}

/** Keeps nothing. */
export const noStore: ByteStore = { get: async () => null, put: async () => {} };

/** Bytes that are hashed at once: the platform's hash copies what it is given. */
const SLICE = 2 ** 28;

/** SHA-256 of all parts together, as hexadecimal digits: a key for what they decide. */
export async function digest(parts: readonly (string | Uint8Array<ArrayBuffer>)[]): Promise<string> {
  const digests: number[] = [];
  for (const part of parts) {
    const bytes = typeof part === "string" ? new TextEncoder().encode(part) : part;
    for (let start = 0; start === 0 || start < bytes.length; start += SLICE) {
      const slice = bytes.length > SLICE ? bytes.subarray(start, start + SLICE) : bytes;
      digests.push(...new Uint8Array(await crypto.subtle.digest("SHA-256", slice)));
    }
    // Where a part ends is part of the key.
    digests.push(...new Uint8Array(Float64Array.of(bytes.length).buffer));
  }
  const joined = Uint8Array.from(digests);
  const whole = new Uint8Array(await crypto.subtle.digest("SHA-256", joined));
  return Array.from(whole, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The same memory for one of several runs. */
export const prefixed =
  (memo: Memo, prefix: string): Memo =>
  (key, compute) =>
    memo(`${prefix} ${key}`, compute);

/** The same store for one of several runs. */
export const prefixedStore = ({ get, put }: ByteStore, prefix: string): ByteStore => ({
  get: (key) => get(`${prefix} ${key}`),
  put: (key, pieces) => put(`${prefix} ${key}`, pieces),
});
