// NumPy's array files, for tests that read them.

/** Bytes of an .npy of format version 1. */
export function npy(descr: string, shape: readonly number[], body: Uint8Array, order = "False"): Uint8Array {
  const text = `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': (${shape.join(", ")}${shape.length === 1 ? "," : ""}), }\n`;
  const head = Uint8Array.of(0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, text.length & 255, text.length >> 8);
  return new Uint8Array([...head, ...new TextEncoder().encode(text), ...body]);
}
