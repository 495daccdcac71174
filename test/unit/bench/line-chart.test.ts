import assert from 'node:assert/strict';
import { lineChart, logTicks, spread, type LineChart } from '../../../scripts/bench/line-chart';

const chart: LineChart = {
  title: 'T',
  subtitle: 'a "CPU"',
  xTitle: 'load',
  xText: (x) => `${100 * x} %`,
  yText: (y) => `${y} s`,
  panels: [
    {
      title: 'one & only',
      lines: [
        { label: 'peer <slow>', own: false, points: [[0.3, 1], [0.5, 10], [0.9, 100]] },
        { label: 'ours', own: true, points: [[0.3, 0.1], [0.5, 1], [0.9, 10]] },
      ],
    },
  ],
}; // prettier-ignore

describe('bench: line chart', () => {
  it('has ticks of 1, 2 and 5 around the values', () => {
    assert.deepEqual(logTicks(0.03, 1.2), [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2]);
    assert.deepEqual(logTicks(1, 10), [1, 2, 5, 10]);
    assert.deepEqual(logTicks(3, 3), [2, 5]);
    assert.deepEqual(logTicks(1, 1), [1, 2]);
  });

  it('moves labels apart and keeps their order', () => {
    const moved = spread([10, 12, 11, 80], 10);
    assert.ok(moved[2]! - moved[0]! > 9.9 && moved[1]! - moved[2]! > 9.9, String(moved));
    assert.equal(moved[3], 80);
    assert.deepEqual(spread([5, 50], 10), [5, 50]);
  });

  it('draws values on a logarithmic scale, this project above the others', () => {
    const svg = lineChart(chart);
    const lines = [...svg.matchAll(/<polyline class="(\w+) line" points="([^"]+)"/g)].map(([, name, points]) => ({
      name,
      points: points!.split(' ').map((pair) => pair.split(',').map(Number) as [number, number]),
    }));
    assert.deepEqual(lines.map(({ name }) => name), ['peer0', 'own'], 'the last one drawn lies on top');
    const [peer, own] = lines;
    const decade = peer!.points[0]![1] - peer!.points[1]![1];
    assert.ok(decade > 20);
    for (const { points } of lines) assert.ok(Math.abs(points[1]![1] - points[2]![1] - decade) < 0.2);
    assert.ok(Math.abs(own!.points[0]![1] - peer!.points[0]![1] - decade) < 0.2);
    const [a, b, c] = own!.points.map(([x]) => x) as [number, number, number];
    assert.ok(Math.abs((c - b) / (b - a) - 2) < 0.01, 'x in proportion');
    assert.match(svg, /peer &lt;slow&gt;/);
    assert.match(svg, /one &amp; only/);
    assert.match(svg, />30 %</);
    assert.ok(svg.startsWith('<svg ') && svg.endsWith('</svg>\n'));
  });

  it('draws a single load too', () => {
    const panels = [{ title: 'P', lines: [{ label: 'ours', own: true, points: [[0.5, 1]] as const }] }];
    assert.doesNotMatch(lineChart({ ...chart, panels }), /NaN|Infinity/);
  });
});
