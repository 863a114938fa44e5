// lowrank inspect MODEL: layers, shapes, MACs, parameters, which methods apply.

import type { Command } from "commander";
import { inspect } from "../report/inspect.ts";
import { inspectText } from "../report/text.ts";
import { readModel } from "./files.ts";
import {
  addPreprocessOptions,
  examples,
  fileName,
  type JsonFlags,
  jsonOption,
  type PreprocessFlags,
  preprocessOf,
} from "./options.ts";
import { runJob } from "./run.ts";

interface Flags extends JsonFlags, PreprocessFlags {
  readonly costs?: boolean;
}

export function addInspect(program: Command): void {
  const command = program
    .command("inspect")
    .summary("layers, shapes, MACs, parameters, which methods apply")
    .description(
      "Lists the layers of a model with their shape (F x C x X x Y), what they cost for one image, and which methods apply.",
    )
    .argument("<model>", "an .onnx file", fileName);
  addPreprocessOptions(command.option("--costs", "list what each method would cost in each layer's place"))
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples([
        ["lowrank inspect model.onnx", "what the model is made of"],
        ["lowrank inspect model.onnx --costs", "and what each method would cost in each layer's place"],
        ["lowrank inspect model.onnx --size 320", "for images of 320x320, where the model leaves that free"],
        ["lowrank inspect model.onnx --json > layers.json", "the same as data"],
      ]),
    )
    .action(run);
}

function run(path: string, flags: Flags): Promise<void> {
  return runJob({
    title: `reading ${path}`,
    json: flags.json === true,
    work: async () => {
      const { model, bytes } = await readModel(path);
      return inspect(model, { bytes, preprocess: preprocessOf(flags) });
    },
    text: (found, ink) => inspectText(found, ink, flags.costs === true),
  });
}
