// float16 as bits (IEEE 754 binary16) and float32 as numbers: one to the other, rounded to the nearest, ties to even.

type Halves = Uint16Array<ArrayBuffer>;

/** The numbers that halves stand for; exact, NaN payloads kept. */
export function fromHalves(halves: Uint16Array): Float32Array<ArrayBuffer> {
  const floats = new Float32Array(halves.length);
  // As bits: a signalling NaN that passes through a number would be made quiet.
  const bits = new Uint32Array(floats.buffer);
  for (let i = 0; i < halves.length; i++) {
    const half = halves[i]!;
    const sign = (half & 0x8000) << 16;
    const exponent = (half >>> 10) & 0x1f;
    const fraction = half & 0x3ff;
    if (exponent === 0x1f) bits[i] = sign | 0x7f800000 | (fraction << 13);
    else if (exponent > 0) bits[i] = sign | ((exponent + 112) << 23) | (fraction << 13);
    else floats[i] = (sign === 0 ? 1 : -1) * fraction * 2 ** -24;
  }
  return floats;
}

/** The nearest halves; what rounds to more than 65504 becomes infinity. */
export function toHalves(floats: Float32Array): Halves {
  const bits = new Uint32Array(floats.buffer, floats.byteOffset, floats.length);
  const halves = new Uint16Array(floats.length);
  for (let i = 0; i < bits.length; i++) halves[i] = ((bits[i]! >>> 16) & 0x8000) | magnitude(bits[i]! & 0x7fffffff);
  return halves;
}

const INFINITE = 0x7f800000;
/** The bits of float32: 2^16, from which on everything is infinite, and 2^-14, below which halves are subnormal. */
const TOO_LARGE = 0x47800000;
const SUBNORMAL = 0x38800000;

function magnitude(bits: number): number {
  if (bits > INFINITE) return 0x7c00 | ((bits >>> 13) & 0x3ff || 0x200);
  if (bits >= TOO_LARGE) return 0x7c00;
  if (bits >= SUBNORMAL) return rounded(bits - (112 << 23), 13);
  const shift = 126 - (bits >>> 23);
  // Less than half of the least half.
  if (shift > 24) return 0;
  return rounded((bits & 0x7fffff) | 0x800000, shift);
}

/** value / 2^shift, to the nearest, ties to even; a carry into the exponent is what rounding up means there. */
function rounded(value: number, shift: number): number {
  const whole = value >>> shift;
  const rest = value & ((1 << shift) - 1);
  const middle = 1 << (shift - 1);
  return whole + (rest > middle || (rest === middle && (whole & 1) === 1) ? 1 : 0);
}
