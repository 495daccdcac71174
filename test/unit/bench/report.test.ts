import assert from 'node:assert/strict';
import { barChart } from '../../../scripts/bench/bar-chart';
import { describeMachine, machineLine } from '../../../scripts/bench/machine';
import { referenceAmong } from '../../../scripts/bench/measure';
import { describeCase, panelOf, ratioToOwn, type ArmResult, type CaseResult } from '../../../scripts/bench/report';
import { formatSeconds, formatTable, threeDigits } from '../../../scripts/bench/table';

const arm = (name: string, median: number, more: Partial<ArmResult> = {}): ArmResult => ({
  name, dtype: 'float32', own: false, relativeError: 1e-7, wrong: false, median, lower: median, upper: median, count: 5, ...more,
}); // prettier-ignore

const own = arm('ours', 0.03, { own: true });
const ownHalf = arm('ours bf16', 0.015, { own: true, dtype: 'bfloat16' });
const peer = arm('peer <fast> & right', 0.06, { relativeError: null });
const broken = arm('broken', 0.001, { wrong: true, relativeError: 0.5 });
const result: CaseResult = {
  title: 'tiny, batch 1',
  reference: peer.name,
  arms: [own, ownHalf, peer, broken],
  leftOut: [{ name: 'gone', reason: 'not here' }],
};

describe('bench: report', () => {
  it('aligns columns, the first to the left', () => {
    const lines = formatTable(['arm', 'ms'], [['a', '10'], ['long', '5×']]).split('\n'); // prettier-ignore
    assert.deepEqual(lines, ['arm   ms', '----  --', 'a     10', 'long  5×']);
  });

  it('writes three digits and a unit', () => {
    assert.deepEqual([0.0123456, 1.5, 0.2, 6.54e-6].map(formatSeconds), ['12.3 ms', '1.50 s', '200 ms', '6.54 µs']);
    assert.deepEqual([0, 0.00123, 1234].map(threeDigits), ['0', '0.00123', '1234']);
  });

  it("takes ratios to this project's arm of the same dtype", () => {
    assert.equal(ratioToOwn(peer, result.arms), '2.00×');
    assert.equal(ratioToOwn(arm('half', 0.03, { dtype: 'bfloat16' }), result.arms), '2.00×');
    assert.equal(ratioToOwn(own, result.arms), '');
    assert.equal(ratioToOwn(peer, [peer]), '');
  });

  it('names the reference, what is wrong and what was left out', () => {
    const text = describeCase(result);
    assert.match(text, /peer <fast> & right .*2\.00× +reference/);
    assert.match(text, /broken .*5\.0e-1 WRONG/);
    assert.match(text, /left out: gone: not here/);
  });

  it('draws no bar for a wrong arm', () => {
    assert.deepEqual(panelOf(result).bars.map(({ label }) => label), ['ours', 'ours bf16', 'peer <fast> & right']);
  });

  it('draws a well-formed picture with bars in proportion and their values', () => {
    const svg = barChart({ title: 'T', subtitle: 'a "CPU"', panels: [panelOf(result)] });
    const widths = [...svg.matchAll(/<rect class="(?:own|bar)"[^>]* width="([\d.]+)"/g)].map((match) => Number(match[1]));
    assert.equal(widths.length, 3);
    assert.ok(Math.abs(widths[0]! / widths[2]! - 0.5) < 0.01, 'half the time, half the bar');
    assert.match(svg, /60\.0 ms {2}2\.00×/);
    assert.match(svg, /peer &lt;fast&gt; &amp; right/);
    assert.ok(svg.startsWith('<svg ') && svg.endsWith('</svg>\n'));
  });

  it('compares with diffusers eager in float32 where it is there', () => {
    const contender = (name: string, dtype: 'float32' | 'bfloat16', isOwn = false) => ({
      name, dtype, own: isOwn, run: () => Promise.resolve([]),
    }); // prettier-ignore
    const all = [
      contender('ours', 'float32', true),
      contender('onnxruntime', 'float32'),
      contender('diffusers eager bfloat16', 'bfloat16'),
      contender('diffusers eager float32', 'float32'),
    ];
    assert.equal(referenceAmong(all), all[3]);
    assert.equal(referenceAmong(all.slice(0, 3)), all[1]);
    assert.equal(referenceAmong(all.slice(0, 1)), all[0]);
    assert.equal(referenceAmong([]), undefined);
  });

  it('reads the instruction sets that matter', () => {
    const machine = describeMachine('flags\t\t: fpu avx2 avx512f amx_tile\n');
    assert.deepEqual(machine.isa, ['avx2', 'avx512f']);
    assert.equal(machineLine({ ...machine, cpu: 'X', cores: 1 }), 'X, 1 core (avx2, avx512f)');
  });
});
