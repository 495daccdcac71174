/** One bar. */
export interface Bar {
  readonly label: string;
  readonly value: number;
  /** What stands at its end. */
  readonly text: string;
  /** This project's bars have a colour of their own. */
  readonly own: boolean;
}

/** Bars that share a scale. */
export interface Panel {
  readonly title: string;
  readonly bars: readonly Bar[];
}

/** What the chart shows. */
export interface Chart {
  readonly title: string;
  readonly subtitle: string;
  readonly panels: readonly Panel[];
}

const WIDTH = 920;
const MARGIN = 24;
const LABELS = 372;
const VALUES = 110;
const ROW = 26;
const BAR = 17;
const PANEL_TITLE = 40;
const HEAD = 74;

/** Readable on white and on dark pages: the text follows the reader's scheme where the viewer supports that. */
const STYLE = `
  text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #4b5563; }
  .title { font-size: 18px; font-weight: 600; fill: #1f2937; }
  .panel { font-size: 14px; font-weight: 600; fill: #1f2937; }
  .own-text { font-weight: 600; fill: #1f2937; }
  .card { fill: #ffffff; stroke: #d1d5db; }
  .bar { fill: #9ca3af; }
  .own { fill: #2563eb; }
  @media (prefers-color-scheme: dark) {
    text { fill: #b6bcc6; }
    .title, .panel, .own-text { fill: #f3f4f6; }
    .card { fill: #0d1117; stroke: #30363d; }
    .bar { fill: #6b7280; }
    .own { fill: #4f8df7; }
  }`;

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

const escape = (text: string): string => text.replace(/[&<>"]/g, (character) => ENTITIES[character]!);

/** Horizontal bars in panels, each panel on its own scale from zero, as a standalone SVG. */
export function barChart({ title, subtitle, panels }: Chart): string {
  const parts: string[] = [];
  let y = HEAD;
  for (const panel of panels) {
    parts.push(panelAt(panel, y));
    y += PANEL_TITLE + panel.bars.length * ROW;
  }
  const height = y + MARGIN;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">
<title>${escape(title)}</title>
<style>${STYLE}
</style>
<rect class="card" x="0.5" y="0.5" width="${WIDTH - 1}" height="${height - 1}" rx="8"/>
<text class="title" x="${MARGIN}" y="38">${escape(title)}</text>
<text x="${MARGIN}" y="60">${escape(subtitle)}</text>
${parts.join('\n')}
</svg>
`;
}

function panelAt({ title, bars }: Panel, top: number): string {
  const longest = Math.max(...bars.map(({ value }) => value));
  const room = WIDTH - 2 * MARGIN - LABELS - VALUES;
  const lines = [`<text class="panel" x="${MARGIN}" y="${top + 26}">${escape(title)}</text>`];
  bars.forEach(({ label, value, text, own }, index) => {
    const y = top + PANEL_TITLE + index * ROW;
    const middle = y + BAR / 2 + 4.5;
    const length = Math.max(1, (room * value) / longest);
    const weight = own ? ' class="own-text"' : '';
    const [start, end] = [MARGIN + LABELS, MARGIN + LABELS + length];
    lines.push(
      `<text${weight} x="${start - 10}" y="${middle}" text-anchor="end">${escape(label)}</text>`,
      `<rect class="${own ? 'own' : 'bar'}" x="${start}" y="${y}" width="${length.toFixed(1)}" height="${BAR}" rx="2"/>`,
      `<text${weight} x="${(end + 8).toFixed(1)}" y="${middle}">${escape(text)}</text>`,
    );
  });
  return lines.join('\n');
}
