// Prints docs/operators.md, the table of operators whose shapes and gradients are known:
//   npx tsx -C source scripts/operators.ts > docs/operators.md

import { pathToFileURL } from "node:url";
import { FLAT, GRADIENT_RULES } from "../src/autodiff/rules.ts";
import { SHAPE_RULES } from "../src/graph/shape-rules/table.ts";

const INTRODUCTION = `# Operators

Made by \`npx tsx -C source scripts/operators.ts\` from the tables of rules; a test holds that it is up to date.

Models with any operator can be read, written and run. This table says where more than that is known:

- **shapes**: sizes are inferred without running. Where they are not, what the file says of a value stands.
- **gradient**: fine-tuning goes through, in float32 and from operator set 7 on. "none" means that outputs do not move with
  inputs, so that nothing flows back; integers and truth values carry no gradient anyway. A form that a rule does not cover
  is refused with an error that names the node.
`;

function gradientOf(domain: string, op: string): string {
  if (domain !== "") return "";
  return Object.hasOwn(GRADIENT_RULES, op) ? "yes" : FLAT.has(op) ? "none" : "";
}

function table(domain: string): string {
  const shapes = SHAPE_RULES[domain] ?? {};
  const gradients = domain === "" ? [...Object.keys(GRADIENT_RULES), ...FLAT] : [];
  const rows = [...new Set([...Object.keys(shapes), ...gradients])].sort().map((op) => {
    return `| ${op} | ${Object.hasOwn(shapes, op) ? "yes" : ""} | ${gradientOf(domain, op)} |`;
  });
  return ["| operator | shapes | gradient |", "|---|---|---|", ...rows].join("\n");
}

export function operatorsPage(): string {
  const sections = Object.keys(SHAPE_RULES).map((domain) => `## ${domain || "ai.onnx"}\n\n${table(domain)}`);
  return `${[INTRODUCTION, ...sections].join("\n")}\n`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) process.stdout.write(operatorsPage());
