// ONNX Runtime's messages on one readable line: without codes, source locations and stack traces.

/** A message never takes more characters than this. */
const LONGEST = 300;

const NOISE: readonly RegExp[] = [
  /.*\bERROR_MESSAGE: /s,
  /\bStacktrace:.*/s,
  /\[ONNXRuntimeError\] : \d+ : \w+ : /g,
  /\S+\.(?:cc|cpp|h):\d+ /g,
];

/** A node that failed, as ONNX Runtime says it. */
const FAILED = /Non-zero status code returned while running (\w+) node\. Name:'([^']*)' Status Message: (.*)/;
const NO_ROOM = /.*Failed to allocate memory for requested buffer of size (\d+).*/;

/** What ONNX Runtime says, on one line. */
export function reason(message: string): string {
  const plain = NOISE.reduce((text, noise) => text.replace(noise, ""), message);
  const line = plain
    .replace(/\s+/g, " ")
    .trim()
    .replace(FAILED, (_, op, name, why) => `${name === "" ? `a node ${op} without a name` : `${op} ${name}`}: ${why}`)
    .replace(
      NO_ROOM,
      (whole, size) =>
        `${whole.slice(0, whole.indexOf(": ") + 1)} its result takes ${size} bytes, which there is no room for`,
    );
  return line.length > LONGEST ? `${line.slice(0, LONGEST - 3)}...` : line;
}
