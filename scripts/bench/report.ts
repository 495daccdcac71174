import type { Bar, Panel } from './bar-chart';
import type { Summary } from './statistics';
import { formatSeconds, formatTable, threeDigits } from './table';

/** An arm as measured. */
export interface ArmResult extends Summary {
  readonly name: string;
  readonly dtype: 'float32' | 'bfloat16';
  readonly own: boolean;
  /** ‖output − reference‖ / ‖reference‖; null for the reference itself. */
  readonly relativeError: number | null;
  /** Its error is beyond what its dtype explains: its time counts for nothing. */
  readonly wrong: boolean;
}

/** One table. */
export interface CaseResult {
  readonly title: string;
  /** The arm that the outputs are compared with. */
  readonly reference: string;
  readonly arms: readonly ArmResult[];
  readonly leftOut: readonly { readonly name: string; readonly reason: string }[];
}

/** The arm that ratios are to: this project's in the arm's own dtype, else the first of this project's. */
function ownArm(arms: readonly ArmResult[], dtype: string): ArmResult | undefined {
  const own = arms.filter((arm) => arm.own && !arm.wrong);
  return own.find((arm) => arm.dtype === dtype) ?? own[0];
}

/** How many times as long as this project's arm of the same dtype; empty where there is none. */
export function ratioToOwn(arm: ArmResult, arms: readonly ArmResult[]): string {
  const own = ownArm(arms, arm.dtype);
  return own === undefined || arm.own ? '' : `${(arm.median / own.median).toFixed(2)}×`;
}

/** The table of a case, as lines. */
export function describeCase({ title, reference, arms, leftOut }: CaseResult): string {
  const rows = arms.map((arm) => [
    arm.name,
    formatSeconds(arm.median),
    `${formatSeconds(arm.lower)} … ${formatSeconds(arm.upper)}`,
    String(arm.count),
    ratioToOwn(arm, arms),
    arm.relativeError === null ? 'reference' : `${arm.relativeError.toExponential(1)}${arm.wrong ? ' WRONG' : ''}`,
  ]);
  const header = ['arm', 'median', 'quartiles', 'calls', 'to ours', 'error'];
  const notes = leftOut.map(({ name, reason }) => `left out: ${name}: ${reason}`);
  const table = arms.length === 0 ? [] : [formatTable(header, rows), `error: relative to ${reference}`];
  return [title, '', ...table, ...notes].join('\n');
}

/** The chart's panel of a case. */
export function panelOf({ title, arms }: CaseResult): Panel {
  const bars = arms.filter((arm) => !arm.wrong).map(
    (arm): Bar => {
      const ratio = ratioToOwn(arm, arms);
      const text = `${formatSeconds(arm.median)}${ratio === '' ? '' : `  ${ratio}`}`;
      return { label: arm.name, value: arm.median, text, own: arm.own };
    },
  );
  return { title, bars };
}

/** A table of how many forwards a second come out when 1, 2, … are under way at once. */
export function describeConcurrency(
  title: string,
  counts: readonly number[],
  rows: readonly { name: string; perSecond: readonly number[] }[],
): string {
  const header = ['forwards a second', ...counts.map((count) => `${count} at once`)];
  return `${title}\n\n${formatTable(header, rows.map(({ name, perSecond }) => [name, ...perSecond.map(threeDigits)]))}`;
}
