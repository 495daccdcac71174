// A run that takes too long is cancelled; the pipeline goes on to draw the next.
//   npx tsx scripts/examples/cancel.ts [OUT_DIR] [MILLISECONDS]
import { join } from 'node:path';
// A program would import from 'node-diffusers'.
import { AbortError, DDPMPipeline } from '../../ts/index';

const [out = 'out', milliseconds = '500'] = process.argv.slice(2);

async function main(): Promise<void> {
  const pipe = await DDPMPipeline.fromPretrained(join(__dirname, '../../models/fashion-mnist-ddpm'));
  let done = 0;
  try {
    await pipe.run({
      numInferenceSteps: 1000,
      signal: AbortSignal.timeout(Number(milliseconds)), // or an AbortController's
      onProgress: ({ step }) => (done = step),
    });
  } catch (error) {
    if (!(error instanceof AbortError)) throw error;
    const { name } = error.cause as Error; // the signal's reason
    process.stdout.write(`${error.code} after ${done} of 1000 steps: ${name}\n`);
  }
  const { images } = await pipe.run({ numInferenceSteps: 10 });
  await images[0]?.save(join(out, 'cancel.png'));
}
void main();
