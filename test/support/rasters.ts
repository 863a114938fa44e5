// Small images in the forms that sharp does not read.

/** Three columns and two rows of colours. */
export const RGB = [255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30, 40, 50, 60, 70, 80, 90];

/** A bitmap of RGB: of 24 or 32 bits, or of 8 bits with its six colours as palette. */
export function bmp(bits: 8 | 24 | 32, down: boolean, compression = 0): Uint8Array {
  const [width, height] = [3, 2];
  const palette = bits === 8 ? 6 * 4 : 0;
  const stride = Math.ceil((width * bits) / 32) * 4;
  const start = 54 + palette;
  const bytes = new Uint8Array(start + stride * height);
  const view = new DataView(bytes.buffer);
  bytes.set([0x42, 0x4d]);
  view.setUint32(10, start, true);
  view.setUint32(14, 40, true);
  view.setInt32(18, width, true);
  view.setInt32(22, down ? -height : height, true);
  view.setUint16(26, 1, true);
  view.setUint16(28, bits, true);
  view.setUint32(30, compression, true);
  const blueFirst = (p: number) => [RGB[3 * p + 2]!, RGB[3 * p + 1]!, RGB[3 * p]!];
  for (let p = 0; p < 6; p++) {
    if (bits === 8) bytes.set(blueFirst(p), 54 + 4 * p);
    const [y, x] = [Math.floor(p / width), p % width];
    const at = start + stride * (down ? y : height - 1 - y) + (x * bits) / 8;
    bytes.set(bits === 8 ? [p] : blueFirst(p), at);
  }
  return bytes;
}

export const text = (words: string) => new TextEncoder().encode(words);
export const P6 = Uint8Array.from([...text("P6\n# two rows\n3 2\n255\n"), ...RGB]);
