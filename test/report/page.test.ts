import { expect, test } from "vitest";
import { SERIES_COLOURS } from "../../src/report/charts.ts";
import { htmlPage, type Page } from "../../src/report/page.ts";

const page: Page = {
  title: "Title <of> it",
  subtitle: "what it is",
  facts: [{ value: "2.5x", label: "faster & smaller" }],
  paragraphs: ["A first paragraph."],
  sections: [
    {
      id: "one",
      title: "Section one",
      paragraphs: ["It says <script>alert(1)</script>."],
      parts: [
        {
          kind: "figure",
          id: "fig",
          title: 'Of "a" & b',
          svg: '<svg width="960" height="10"><path d="M0 0"></path></svg>',
          caption: "3 < 4.",
        },
        {
          ...{ kind: "table", id: "tab", title: "Numbers", caption: "All of them.", folded: false },
          columns: [{ title: "name" }, { title: "MACs", align: "right" }],
          rows: [["<b>conv1</b>", "7.23 M"]],
        },
        {
          ...{ kind: "table", id: "long", title: "More", caption: "", folded: true },
          columns: [{ title: "name" }],
          rows: [["a"], ["b"]],
        },
      ],
    },
    { id: "two", title: "Section two", paragraphs: [], parts: [] },
  ],
  footer: ["Made by hand."],
};

const html = htmlPage(page);

test("text is only ever text", () => {
  expect(html).not.toContain("<script");
  expect(html).not.toContain("<b>conv1");
  expect(html).toContain("&lt;script&gt;alert(1)&lt;/script&gt;");
  expect(html).toContain("<title>Title &lt;of&gt; it</title>");
  expect(html).toContain('aria-label="Of &quot;a&quot; &amp; b"');
  expect(html).toContain("3 &lt; 4.");
});

test("is one document whose elements are closed in order, with nothing to fetch", () => {
  const open: string[] = [];
  const body = html.replace(/<style>[\s\S]*?<\/style>/, "");
  for (const [, end, tag, rest] of body.matchAll(/<(\/?)([a-z][a-zA-Z0-9]*)\b([^>]*)>/g)) {
    if (tag === "meta") continue;
    if (end === "/") expect(open.pop()).toBe(tag);
    else if (!rest!.endsWith("/")) open.push(tag!);
  }
  expect(open).toEqual([]);
  expect(html).not.toMatch(/\b(?:src|href)="(?!#)|@import|url\(|https?:/);
});

test("contents lead to the sections; facts, figures and tables are there, a folded one with its length", () => {
  for (const [, id] of html.matchAll(/href="#([^"]+)"/g)) expect(html).toContain(`<section id="${id}">`);
  expect(html.match(/<li><a/g)).toHaveLength(2);
  expect(html).toContain("<dd>2.5x</dd><dt>faster &amp; smaller</dt>");
  expect(html).toContain('<path d="M0 0">');
  expect(html).toContain('<th class="number" scope="col">MACs</th>');
  expect(html).toContain('<td class="number">7.23 M</td>');
  expect(html).toMatch(/<details id="long">[\s\S]*2 rows[\s\S]*<\/details>/);
  expect(html).toContain("<p>Made by hand.</p>");
});

test("charts take other colours on dark ground", () => {
  const dark = html.slice(html.indexOf("prefers-color-scheme: dark"));
  for (const { light, dark: shade } of SERIES_COLOURS)
    expect(dark).toContain(`svg [stroke="${light}"] { stroke: ${shade}; }`);
});
