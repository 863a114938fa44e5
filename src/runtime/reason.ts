// ONNX Runtime's messages on one readable line: without codes, source locations and stack traces.

/** A message never takes more characters than this. */
const LONGEST = 300;

const NOISE: readonly RegExp[] = [
  /.*\bERROR_MESSAGE: /s,
  /\bStacktrace:.*/s,
  /\[ONNXRuntimeError\] : \d+ : \w+ : /g,
  /\S+\.(?:cc|cpp|h):\d+ /g,
];

/** What ONNX Runtime says, on one line. */
export function reason(message: string): string {
  const plain = NOISE.reduce((text, noise) => text.replace(noise, ""), message);
  const line = plain.replace(/\s+/g, " ").trim();
  return line.length > LONGEST ? `${line.slice(0, LONGEST - 3)}...` : line;
}
