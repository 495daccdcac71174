import { escape, HEAD, MARGIN, svgCard, WIDTH } from './svg-card';

/** One line. */
export interface Line {
  readonly label: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  /** This project's line has a colour of its own. */
  readonly own: boolean;
}

/** Lines that share their axes. */
export interface LinePanel {
  readonly title: string;
  readonly lines: readonly Line[];
}

/** What the chart shows. */
export interface LineChart {
  readonly title: string;
  readonly subtitle: string;
  readonly xTitle: string;
  /** How a value stands at the axes. */
  readonly xText: (x: number) => string;
  readonly yText: (y: number) => string;
  readonly panels: readonly LinePanel[];
}

const PANEL = 318;
const PLOT = { top: 44, height: 216, left: MARGIN + 70, right: WIDTH - MARGIN - 250 } as const;
/** Room between two labels at the lines' ends. */
const LABEL = 17;

/** Colours that differ in lightness too; the markers' shapes say the same without colour. */
const STYLE = `
  .line { fill: none; stroke-width: 1.8; }
  .grid { stroke: #e5e7eb; }
  .own.line { stroke-width: 3; }
  .own { stroke: #2563eb; } .own.mark { fill: #2563eb; }
  .peer0 { stroke: #d97706; } .peer0.mark { fill: #d97706; }
  .peer1 { stroke: #0f766e; } .peer1.mark { fill: #0f766e; }
  .peer2 { stroke: #9ca3af; } .peer2.mark { fill: #9ca3af; }
  .peer3 { stroke: #a855f7; } .peer3.mark { fill: #a855f7; }
  @media (prefers-color-scheme: dark) {
    .grid { stroke: #30363d; }
    .own { stroke: #4f8df7; } .own.mark { fill: #4f8df7; }
    .peer1 { stroke: #2dd4bf; } .peer1.mark { fill: #2dd4bf; }
  }`;
const PEER_COLOURS = 4;

/** Lines in panels one below the other, x linear, y logarithmic, as a standalone SVG. */
export function lineChart(chart: LineChart): string {
  const { title, subtitle, panels } = chart;
  const labels = [...new Set(panels.flatMap(({ lines }) => lines.filter(({ own }) => !own).map(({ label }) => label)))];
  const classOf = ({ label, own }: Line): string => (own ? 'own' : `peer${labels.indexOf(label) % PEER_COLOURS}`);
  const parts = panels.map((panel, index) => panelAt(chart, panel, HEAD + index * PANEL, classOf));
  return svgCard({ title, subtitle, height: HEAD + panels.length * PANEL + MARGIN, style: STYLE, parts });
}

/** 1, 2, 5, 10, … from the last below the smallest value to the first above the largest. */
export function logTicks(smallest: number, largest: number): number[] {
  const ticks: number[] = [];
  const first = Math.floor(Math.log10(smallest));
  for (let power = first; ticks.length === 0 || ticks.at(-1)! < largest; power += 1) {
    ticks.push(...[1, 2, 5].map((digit) => Number(`${digit}e${power}`)));
  }
  const from = ticks.findLastIndex((tick) => tick <= smallest);
  const to = ticks.findIndex((tick) => tick >= largest);
  return ticks.slice(from, Math.max(to, from + 1) + 1);
}

/** Labels' places, moved apart where they would cover each other, in the order of the values. */
export function spread(places: readonly number[], gap: number): number[] {
  const order = places.map((_, index) => index).sort((a, b) => places[a]! - places[b]!);
  const moved = [...places];
  for (let round = 0; round < 100; round += 1) {
    for (let i = 1; i < order.length; i += 1) {
      const [above, below] = [order[i - 1]!, order[i]!];
      const missing = gap - (moved[below]! - moved[above]!);
      if (missing <= 0) continue;
      moved[above] = moved[above]! - missing / 2;
      moved[below] = moved[below]! + missing / 2;
    }
  }
  return moved;
}

function panelAt(
  { xTitle, xText, yText }: LineChart,
  { title, lines }: LinePanel,
  top: number,
  classOf: (line: Line) => string,
): string {
  const all = lines.flatMap(({ points }) => points);
  const xs = [...new Set(all.map(([x]) => x))].sort((a, b) => a - b);
  const ys = all.map(([, y]) => y);
  const ticks = logTicks(Math.min(...ys), Math.max(...ys));
  const { left, right, height } = PLOT;
  const bottom = top + PLOT.top + height;
  const [first, last] = [xs[0]!, xs.at(-1)!];
  const inset = 16;
  const toX = (x: number): number =>
    last === first ? (left + right) / 2 : left + inset + ((right - left - 2 * inset) * (x - first)) / (last - first);
  const toY = (y: number): number => bottom - (height * Math.log(y / ticks[0]!)) / Math.log(ticks.at(-1)! / ticks[0]!);
  const parts = [`<text class="panel" x="${MARGIN}" y="${top + 26}">${escape(title)}</text>`];
  for (const tick of ticks) {
    const y = toY(tick).toFixed(1);
    parts.push(
      `<line class="grid" x1="${left}" x2="${right}" y1="${y}" y2="${y}"/>`,
      `<text x="${left - 8}" y="${(toY(tick) + 4.5).toFixed(1)}" text-anchor="end">${escape(yText(tick))}</text>`,
    );
  }
  for (const x of xs) {
    parts.push(`<text x="${toX(x).toFixed(1)}" y="${bottom + 20}" text-anchor="middle">${escape(xText(x))}</text>`);
  }
  parts.push(`<text x="${(left + right) / 2}" y="${bottom + 40}" text-anchor="middle">${escape(xTitle)}</text>`);
  const ends = spread(lines.map(({ points }) => toY(points.at(-1)![1])), LABEL);
  // This project's line lies on top.
  for (const line of [...lines].sort((a, b) => Number(a.own) - Number(b.own))) {
    const name = classOf(line);
    const places = line.points.map(([x, y]) => [toX(x), toY(y)] as const);
    const path = places.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(' ');
    const [endX, endY] = places.at(-1)!;
    const label = ends[lines.indexOf(line)]!;
    parts.push(
      `<polyline class="${name} line" points="${path}"/>`,
      ...places.map(([x, y]) => mark(name, x, y)),
      `<line class="${name}" x1="${(endX + 7).toFixed(1)}" y1="${endY.toFixed(1)}" x2="${right + 12}" y2="${label.toFixed(1)}" stroke-width="0.8"/>`,
      `<text${line.own ? ' class="own-text"' : ''} x="${right + 17}" y="${(label + 4.5).toFixed(1)}">${escape(line.label)}</text>`,
    );
  }
  return parts.join('\n');
}

/** A point: each line's has a shape of its own. */
function mark(name: string, x: number, y: number): string {
  const shape = (points: readonly (readonly [number, number])[]): string =>
    `<polygon class="${name} mark" points="${points.map(([dx, dy]) => `${(x + dx).toFixed(1)},${(y + dy).toFixed(1)}`).join(' ')}"/>`;
  switch (name) {
    case 'peer0':
      return shape([[-4, -4], [4, -4], [4, 4], [-4, 4]]); // prettier-ignore
    case 'peer1':
      return shape([[0, -5.5], [5.5, 0], [0, 5.5], [-5.5, 0]]); // prettier-ignore
    case 'peer2':
      return shape([[0, -5], [5, 4], [-5, 4]]); // prettier-ignore
    case 'peer3':
      return shape([[0, 5], [5, -4], [-5, -4]]); // prettier-ignore
    default:
      return `<circle class="${name} mark" cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="4.5"/>`;
  }
}
