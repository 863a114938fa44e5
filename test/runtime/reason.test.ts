// ONNX Runtime's messages, as it writes them, on one readable line.

import { expect, test } from "vitest";
import { reason } from "../../src/runtime/reason.ts";

const messages: [string, string][] = [
  [
    "Got invalid dimensions for input: x for the following indices\n index: 1 Got: 4 Expected: 3\n Please fix it.",
    "Got invalid dimensions for input: x for the following indices index: 1 Got: 4 Expected: 3 Please fix it.",
  ],
  [
    "Can't create a session. ERROR_CODE: 7, ERROR_MESSAGE: Failed to load model because protobuf parsing failed.",
    "Failed to load model because protobuf parsing failed.",
  ],
  [
    "Name:'mm' Status Message: /onnxruntime_src/core/matmul_helper.h:59 MatMul dimension mismatch",
    "Name:'mm' Status Message: MatMul dimension mismatch",
  ],
  ["[ONNXRuntimeError] : 1 : FAIL : no room\n\nStacktrace:\n #0 here\n #1 there", "no room"],
  ["std::bad_alloc", "std::bad_alloc"],
  [
    "Non-zero status code returned while running Expand node. Name:'ex' Status Message: void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*) Failed to allocate memory for requested buffer of size 16777216000000",
    "Expand ex: its result takes 16777216000000 bytes, which there is no room for",
  ],
  [
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Add node. Name:'' Status Message: /onnxruntime_src/element_wise.h:5 axis == 1",
    "a node Add without a name: axis == 1",
  ],
];

test.each(messages)("%j", (message, expected) => {
  expect(reason(message)).toBe(expected);
});

test("never more than 300 characters", () => {
  const line = reason("word ".repeat(1000));
  expect(line).toHaveLength(300);
  expect(line.endsWith("...")).toBe(true);
});
