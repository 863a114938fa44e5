// The report's page made in a browser: its drawings by ECharts, its pictures by a canvas.

import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { expect, test } from "vitest";
import { findChromium, openPage } from "../support/chromium.ts";
import * as here from "./report-page.ts";

/** The pictures' pixels. */
function picturesIn(html: string): Promise<Buffer[]> {
  const texts = [...html.matchAll(/src="data:image\/png;base64,([^"]+)"/g)].map((match) => match[1]!);
  return Promise.all(texts.map((text) => sharp(Buffer.from(text, "base64")).removeAlpha().raw().toBuffer()));
}

test.runIf(findChromium() !== null)("has the same layers and the same pictures as Node's", async () => {
  const page = await openPage(fileURLToPath(new URL("report-page.ts", import.meta.url)));
  try {
    const there = await page.call<string>("pageOfRuin");
    const local = await here.pageOfRuin();
    const layers = (html: string) => [...html.matchAll(/<b title="([^"]*)"/g)].map((match) => match[1]);
    expect(layers(there)).toEqual(layers(local));
    const [a, b] = [await picturesIn(there), await picturesIn(local)];
    expect(b.length).toBeGreaterThan(0);
    expect(a).toEqual(b);
    expect(there.match(/<svg /g)).toHaveLength(local.match(/<svg /g)!.length);
  } finally {
    await page.close();
  }
});
