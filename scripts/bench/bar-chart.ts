import { escape, HEAD, MARGIN, svgCard, WIDTH } from './svg-card';

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

const LABELS = 372;
const VALUES = 110;
const ROW = 26;
const BAR = 17;
const PANEL_TITLE = 40;

const STYLE = `
  .bar { fill: #9ca3af; }
  .own { fill: #2563eb; }
  @media (prefers-color-scheme: dark) {
    .bar { fill: #6b7280; }
    .own { fill: #4f8df7; }
  }`;

/** Horizontal bars in panels, each panel on its own scale from zero, as a standalone SVG. */
export function barChart({ title, subtitle, panels }: Chart): string {
  const parts: string[] = [];
  let y = HEAD;
  for (const panel of panels) {
    parts.push(panelAt(panel, y));
    y += PANEL_TITLE + panel.bars.length * ROW;
  }
  return svgCard({ title, subtitle, height: y + MARGIN, style: STYLE, parts });
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
