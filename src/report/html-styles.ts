// What a report's page adds to the styles of page.ts: lines of layers, cards of images, pairs of names and values; and the one mark
// that its charts share.

/** Of what was chosen, in charts: the second colour, and a diamond. */
export const CHOSEN_STYLE = 19;

export const REPORT_STYLES = `.facts { grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr)); }
.layers { margin: 1.25rem 0; font-size: 0.8438rem; }
.line { display: grid; grid-template-columns: 11.75rem 7rem minmax(9rem, 1.2fr) 11rem minmax(11rem, 1.5fr); gap: 0 0.9rem;
  align-items: center; padding: 0.4rem 0.5rem 0.4rem 1.4rem; max-width: none; color: var(--text); line-height: 1.35; }
.channels .line { grid-template-columns: 15rem 15rem minmax(11rem, 1fr); }
.line > span { min-width: 0; overflow-wrap: anywhere; }
.line.head { color: var(--quiet); font-weight: 600; font-size: 0.8125rem; border-bottom: 1px solid var(--line); }
.layer { margin: 0; border-bottom: 1px solid var(--line); }
.layer > summary { list-style: none; position: relative; font-size: inherit; }
.layer > summary::-webkit-details-marker { display: none; }
.layer > summary::before { content: "›"; position: absolute; left: 0.5rem; color: var(--quiet); transition: transform 0.1s; }
.layer[open] > summary::before { transform: rotate(90deg); }
.layer > summary:hover { background: var(--raised); }
.layer[open] { background: var(--raised); padding-bottom: 0.75rem; }
.layer > :not(.line) { margin-left: 1.4rem; margin-right: 0.75rem; }
.layer.left .line > span { color: var(--quiet); }
.layer.left .line b { font-weight: 500; }
.layer .wide { max-height: none; }
.bar { display: block; margin-bottom: 0.2rem; }
.bar i { display: block; height: 0.3rem; border-radius: 0.15rem; background: var(--line); margin: 0.1rem 0; }
.bar i + i { background: var(--accent); }
.layer.left .bar i + i { background: var(--line); opacity: 0.6; }
.pairs { display: flex; flex-wrap: wrap; gap: 0.4rem 1.75rem; margin: 0.75rem 0; font-size: 0.8438rem; }
.pairs dt { color: var(--quiet); font-size: 0.75rem; }
.pairs dd { margin: 0; }
.stages { margin: 1rem 0; }
.stages svg { width: auto; min-width: 0; max-width: none; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: 1rem; margin: 1.25rem 0; }
.cards figure { margin: 0; }
.cards img { width: 100%; aspect-ratio: 1; object-fit: contain; image-rendering: pixelated; border-radius: 0.35rem;
  background: var(--raised); border: 1px solid var(--line); display: block; }
.cards figcaption { font-size: 0.8125rem; margin-top: 0.35rem; line-height: 1.4; overflow-wrap: anywhere; }
.cards .right { color: #1a7f4b; }
.cards .wrong { color: #c2410c; }
pre { background: var(--raised); border: 1px solid var(--line); border-radius: 0.4rem; padding: 0.75rem 0.9rem; overflow-x: auto;
  font: 0.8125rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre.command { white-space: pre-wrap; overflow-wrap: anywhere; }
details > pre { max-height: 30rem; overflow: auto; }
#notes ul { padding-left: 1.2rem; max-width: 52rem; }
@media (max-width: 52rem) {
  .line, .channels .line { grid-template-columns: 1fr 1fr; gap: 0.2rem 0.9rem; }
  .line.head { display: none; }
}
@media (prefers-color-scheme: dark) {
  .cards .right { color: #4cc38a; }
  .cards .wrong { color: #f08a3c; }
}
`;
