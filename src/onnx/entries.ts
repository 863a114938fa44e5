// Lists of key-value messages (opset_import, metadata_props) <-> Maps. A list that a Map cannot give back (repeated
// keys, unknown fields, an alias as key) is remembered and brought up to date on writing.

/** How one kind of entry is read and made. */
export interface EntryKind<E, V> {
  readonly key: (entry: E) => string;
  readonly value: (entry: E) => V;
  /** Which of two values a repeated key has. */
  readonly choose: (first: V, second: V) => V;
  /** The entry for a key; `old` is the file's own entry, whose other fields stay. */
  readonly make: (key: string, value: V, old?: E) => E;
  readonly same: (a: E, b: E) => boolean;
}

export function readEntries<E, V>(kind: EntryKind<E, V>, entries: readonly E[]): Map<string, V> {
  const map = new Map<string, V>();
  for (const entry of entries) {
    const key = kind.key(entry);
    const value = kind.value(entry);
    map.set(key, map.has(key) ? kind.choose(map.get(key)!, value) : value);
  }
  return map;
}

/** The entries themselves if the map alone would not give them back. */
export function entriesToKeep<E, V>(kind: EntryKind<E, V>, entries: readonly E[], map: Map<string, V>) {
  const plain = writeEntries(kind, map, undefined);
  const same = plain.length === entries.length && plain.every((entry, i) => kind.same(entry, entries[i]!));
  return same ? undefined : entries;
}

/** The map as entries: `kept` ones in their order with today's values, then new keys. */
export function writeEntries<E, V>(
  kind: EntryKind<E, V>,
  map: ReadonlyMap<string, V>,
  kept: readonly E[] | undefined,
): E[] {
  const before = readEntries(kind, kept ?? []);
  const old = (kept ?? [])
    .filter((entry) => map.has(kind.key(entry)))
    .map((entry) => {
      const key = kind.key(entry);
      const value = map.get(key)!;
      return before.get(key) === value ? entry : kind.make(key, value, entry);
    });
  const added = [...map].filter(([key]) => !before.has(key)).map(([key, value]) => kind.make(key, value));
  return [...old, ...added];
}
