import { performance } from 'node:perf_hooks';
import type { BatchOptions, BatchProgress, BatchSummary } from '../engine/batch-options';
import { runBatch } from '../engine/batch-run';
import { escapeControls } from '../escape-controls';
import type { BatchCommandOptions } from './batch';
import { formatCount, formatRate, formatSeconds, plural } from './format';
import { interruptible } from './interrupt';
import { checkSteps, loadPipeline } from './load-model';
import { openProgress, type Progress } from './progress';

/** Failed lines that are told one by one; the manifest has them all. */
const MAX_TOLD = 20;

/** Draws the lines of a file and prints what came of them. Resolves to whether all are done. */
export async function runBatchCommand(jobs: string, options: BatchCommandOptions): Promise<boolean> {
  const progress = openProgress(options.quiet === true);
  try {
    const summary = await interruptible((signal) => drawAll(jobs, options, progress, signal));
    progress.stop();
    process.stdout.write(describe(summary, options));
    return summary.failed === 0;
  } finally {
    progress.stop();
  }
}

async function drawAll(
  jobs: string,
  options: BatchCommandOptions,
  progress: Progress,
  signal: AbortSignal,
): Promise<BatchSummary> {
  const loading = performance.now();
  const { unet, scheduler } = await loadPipeline(options, progress, signal);
  const { steps, scheduler: kind, out, shard, format, images, batch: batchSize, guidanceScale } = options;
  const { model = 'the embedded model' } = options;
  checkSteps(steps, scheduler);
  progress.line(`loaded ${model} in ${formatSeconds((performance.now() - loading) / 1000)}`);
  const defaults = {
    ...(steps === undefined ? {} : { numInferenceSteps: steps }),
    ...(kind === 'ddim' ? { eta: options.eta } : {}),
    ...(guidanceScale === undefined ? {} : { guidanceScale }),
  };
  const run: BatchOptions = {
    jobs: jobs === '-' ? process.stdin : jobs,
    out,
    unet,
    scheduler,
    defaults,
    batchSize,
    format,
    ...(images === undefined ? {} : { images }),
    ...(shard === undefined ? {} : { shard }),
    signal,
    ...listeners(progress),
  };
  try {
    return await runBatch(run);
  } finally {
    unet.dispose();
  }
}

function listeners(progress: Progress): Pick<BatchOptions, 'onProgress' | 'onFailure'> {
  let [started, told] = [performance.now(), 0];
  return {
    onProgress({ total, drawn, kept, failed }: BatchProgress): void {
      // A run that goes on begins with lines that it keeps.
      if (drawn === 0) started = performance.now();
      const rate = (1000 * drawn) / (performance.now() - started);
      const facts = [
        plural(drawn, 'image'),
        kept > 0 ? `${formatCount(kept)} kept` : '',
        failed > 0 ? `${formatCount(failed)} failed` : '',
        drawn > 0 ? `${formatRate(rate)} images/s` : '',
      ];
      // What was kept took no time, and says nothing of how long the rest will.
      progress.update(drawn + failed, total === null ? null : total - kept, facts.filter(Boolean).join(', '));
    },
    onFailure({ error }): void {
      told += 1;
      if (told <= MAX_TOLD) progress.line(escapeControls(error.message));
      if (told === MAX_TOLD + 1) progress.line('further failed lines are told by the manifest only');
    },
  };
}

function describe(summary: BatchSummary, { json, quiet }: BatchCommandOptions): string {
  const { manifest, drawn, kept, failed, seconds } = summary;
  if (json === true) return `${JSON.stringify(summary, null, 2)}\n`;
  if (quiet === true) return `${manifest}\n`;
  const rate = drawn === 0 ? '' : `, ${formatRate(drawn / seconds)} images/s`;
  const rest = `${formatCount(kept)} kept, ${formatCount(failed)} failed`;
  return `${manifest}\n${plural(drawn, 'image')} in ${formatSeconds(seconds)}${rate}; ${rest}\n`;
}
