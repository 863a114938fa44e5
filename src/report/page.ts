// One HTML file that shows results to people: figures, tables and sentences, light or dark as the reader has it, with nothing
// fetched from anywhere. Text is escaped here, so that names from files are only ever text.

import { CHART_COLOURS, SERIES_COLOURS, type Shade } from "./charts.ts";

export interface Page {
  readonly title: string;
  /** Below the title, one line. */
  readonly subtitle: string;
  /** The few numbers that say most. */
  readonly facts: readonly PageFact[];
  readonly paragraphs: readonly string[];
  readonly sections: readonly PageSection[];
  /** How it was made. */
  readonly footer: readonly string[];
  /** CSS for HTML of the caller's own, after the page's; put in as it is. */
  readonly styles?: string;
}

export interface PageFact {
  readonly value: string;
  readonly label: string;
}

export interface PageSection {
  /** For links within the page: letters, digits and hyphens. */
  readonly id: string;
  readonly title: string;
  readonly paragraphs: readonly string[];
  readonly parts: readonly PagePart[];
}

export type PagePart = PageFigure | PageTable | PageHtml;

export interface PageFigure {
  readonly kind: "figure";
  readonly id: string;
  /** What it shows, for people who cannot see it. */
  readonly title: string;
  /** An SVG element, put in as it is. */
  readonly svg: string;
  readonly caption: string;
}

export interface PageTable {
  readonly kind: "table";
  readonly id: string;
  readonly title: string;
  readonly caption: string;
  readonly columns: readonly PageColumn[];
  readonly rows: readonly (readonly string[])[];
  /** A long table is folded away until it is asked for. */
  readonly folded: boolean;
}

/** What the page has no kind for. */
export interface PageHtml {
  readonly kind: "html";
  /** Put in as it is. */
  readonly html: string;
}

export interface PageColumn {
  readonly title: string;
  readonly align?: "left" | "right";
}

export function htmlPage({ title, subtitle, facts, paragraphs, sections, footer, styles = "" }: Page): string {
  const contents = sections.map((section) => `<li><a href="#${quoted(section.id)}">${escaped(section.title)}</a></li>`);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escaped(title)}</title>
<style>
${STYLES}${styles}</style>
</head>
<body>
<header>
<h1>${escaped(title)}</h1>
<p class="subtitle">${escaped(subtitle)}</p>
${facts.length === 0 ? "" : `<dl class="facts">\n${facts.map(factHtml).join("\n")}\n</dl>\n`}${texts(paragraphs)}
<nav aria-label="Contents"><ol>${contents.join("")}</ol></nav>
</header>
<main>
${sections.map(sectionHtml).join("\n")}
</main>
<footer>
${texts(footer)}
</footer>
</body>
</html>
`;
}

const factHtml = ({ value, label }: PageFact): string =>
  `<div><dd>${escaped(value)}</dd><dt>${escaped(label)}</dt></div>`;

const texts = (paragraphs: readonly string[]): string =>
  paragraphs.map((paragraph) => `<p>${escaped(paragraph)}</p>`).join("\n");

function sectionHtml({ id, title, paragraphs, parts }: PageSection): string {
  const inside = parts.map(partHtml);
  return `<section id="${quoted(id)}">
<h2>${escaped(title)}</h2>
${[texts(paragraphs), ...inside].filter((part) => part !== "").join("\n")}
</section>`;
}

function partHtml(part: PagePart): string {
  if (part.kind === "html") return part.html;
  return part.kind === "figure" ? figureHtml(part) : tableHtml(part);
}

function figureHtml({ id, title, svg, caption }: PageFigure): string {
  const drawing = svg.replace(/^<svg /, `<svg role="img" aria-label="${quoted(title)}" `);
  return `<figure id="${quoted(id)}">
<div class="wide">${drawing}</div>
<figcaption><b>${escaped(title)}.</b> ${escaped(caption)}</figcaption>
</figure>`;
}

function tableHtml({ id, title, caption, columns, rows, folded }: PageTable): string {
  const cell = (tag: "th" | "td", text: string, { align = "left" }: PageColumn) =>
    `<${tag}${align === "right" ? ' class="number"' : ""}${tag === "th" ? ' scope="col"' : ""}>${escaped(text)}</${tag}>`;
  const head = columns.map((column) => cell("th", column.title, column)).join("");
  const body = rows.map((row) => `<tr>${row.map((text, i) => cell("td", text, columns[i]!)).join("")}</tr>`);
  const table = `<div class="wide"><table>
<thead><tr>${head}</tr></thead>
<tbody>
${body.join("\n")}
</tbody>
</table></div>`;
  const name = `<b>${escaped(title)}.</b> ${escaped(caption)}`;
  if (!folded) return `<figure id="${quoted(id)}">\n${table}\n<figcaption>${name}</figcaption>\n</figure>`;
  return `<details id="${quoted(id)}">
<summary>${name} <span class="rows">${rows.length} rows</span></summary>
${table}
</details>`;
}

/** Text for between tags. */
export const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

/** Text for between quotation marks. */
export const quoted = (text: string): string => escaped(text).replaceAll('"', "&quot;");

/** On dark ground the colours of a chart, which stand in it as for light ground, are replaced by those for dark. */
const shades = ({ light, dark }: Shade): string =>
  `  svg [fill="${light}"] { fill: ${dark}; }\n  svg [stroke="${light}"] { stroke: ${dark}; }\n`;

const DARK = [...SERIES_COLOURS, ...Object.values(CHART_COLOURS)].map(shades).join("");

const STYLES = `:root {
  --ground: #ffffff; --raised: #f6f8fa; --text: #24292f; --quiet: #57606a; --line: #d8dee4; --accent: #0072b2;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif;
  color: var(--text); background: var(--ground); font-variant-numeric: tabular-nums;
}
body { margin: 0 auto; max-width: 62rem; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0; letter-spacing: -0.01em; text-wrap: balance; }
h2 { font-size: 1.3rem; margin: 0 0 0.5rem; }
p { margin: 0.6rem 0; max-width: 46rem; }
a { color: var(--accent); }
.subtitle { color: var(--quiet); margin-top: 0.4rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(12rem, 1fr)); gap: 0.75rem; margin: 1.75rem 0; }
.facts div { background: var(--raised); border: 1px solid var(--line); border-radius: 0.5rem; padding: 0.9rem 1rem;
  display: flex; flex-direction: column; }
.facts dd { margin: 0; font-size: 1.75rem; font-weight: 600; line-height: 1.2; }
.facts dt { color: var(--quiet); font-size: 0.875rem; line-height: 1.4; margin-top: 0.25rem; }
nav { margin: 1.5rem 0 0; font-size: 0.9375rem; }
nav ol { margin: 0; padding: 0; list-style: none; display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; }
section { border-top: 1px solid var(--line); margin-top: 2.25rem; padding-top: 1.75rem; }
figure { margin: 1.75rem 0; }
figcaption, summary { color: var(--quiet); font-size: 0.9rem; line-height: 1.5; max-width: 52rem; }
figcaption b, summary b { color: var(--text); font-weight: 600; }
.wide { overflow-x: auto; }
svg { display: block; width: 100%; min-width: 44rem; height: auto; }
table { border-collapse: collapse; font-size: 0.8125rem; line-height: 1.35; margin: 0.25rem 0 0.75rem; min-width: 100%; }
th { text-align: left; font-weight: 600; color: var(--quiet); border-bottom: 1px solid var(--line); vertical-align: bottom; }
th, td { padding: 0.3rem 0.9rem 0.3rem 0; white-space: nowrap; }
td { border-bottom: 1px solid var(--raised); }
tbody tr:hover { background: var(--raised); }
.number { text-align: right; }
details { margin: 1rem 0; }
summary { cursor: pointer; }
.rows { white-space: nowrap; }
details .wide { margin-top: 0.75rem; max-height: 34rem; overflow: auto; }
details th { position: sticky; top: 0; background: var(--ground); }
footer { border-top: 1px solid var(--line); margin-top: 2.5rem; padding-top: 1rem; color: var(--quiet); font-size: 0.875rem; }
footer p { max-width: none; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #16191d; --raised: #1e2329; --text: #e4e7eb; --quiet: #a3abb5; --line: #363d45; --accent: #4fa8de; }
${DARK}}
@media print {
  body { max-width: none; padding: 0; }
  figure, tr { break-inside: avoid; }
}
`;
