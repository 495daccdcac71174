/** Width of every chart, and its edges. */
export const WIDTH = 920;
export const MARGIN = 24;
/** Where the first panel begins, below title and subtitle. */
export const HEAD = 74;

/** Readable on white and on dark pages: the text follows the reader's scheme where the viewer supports that. */
const STYLE = `
  text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #4b5563; }
  .title { font-size: 18px; font-weight: 600; fill: #1f2937; }
  .panel { font-size: 14px; font-weight: 600; fill: #1f2937; }
  .own-text { font-weight: 600; fill: #1f2937; }
  .card { fill: #ffffff; stroke: #d1d5db; }
  @media (prefers-color-scheme: dark) {
    text { fill: #b6bcc6; }
    .title, .panel, .own-text { fill: #f3f4f6; }
    .card { fill: #0d1117; stroke: #30363d; }
  }`;

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

export const escape = (text: string): string => text.replace(/[&<>"]/g, (character) => ENTITIES[character]!);

/** What stands on a card. */
export interface Card {
  readonly title: string;
  readonly subtitle: string;
  readonly height: number;
  /** Of the chart's own classes. */
  readonly style: string;
  readonly parts: readonly string[];
}

/** A standalone SVG: title and subtitle, and the parts below them. */
export function svgCard({ title, subtitle, height, style, parts }: Card): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">
<title>${escape(title)}</title>
<style>${STYLE}${style}
</style>
<rect class="card" x="0.5" y="0.5" width="${WIDTH - 1}" height="${height - 1}" rx="8"/>
<text class="title" x="${MARGIN}" y="38">${escape(title)}</text>
<text x="${MARGIN}" y="60">${escape(subtitle)}</text>
${parts.join('\n')}
</svg>
`;
}
