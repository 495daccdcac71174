// Images over HTTP, all requests through one batch: curl -X POST 'http://localhost:8080/image?seed=7&steps=20' -o image.png
//   [PORT=8080] [REQUESTS=N] npx tsx scripts/examples/server.ts      (with REQUESTS it ends after as many)
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
// A program would import from 'node-diffusers'.
import { DDIMScheduler, DiffusersError, SamplerEngine, UNet2DModel, type ErrorCode } from '../../ts/index';

const { PORT = '8080', REQUESTS = 'Infinity' } = process.env;
const MODEL = join(__dirname, '../../models/fashion-mnist-ddpm');
/** Whose fault it was; the message of any other failure is nobody else's business. */
const STATUS: Partial<Record<ErrorCode, number>> = {
  ERR_ARGUMENT: 400,
  ERR_TIMESTEP: 400,
  ERR_QUEUE_FULL: 503,
  ERR_DEADLINE: 504,
};

async function main(): Promise<void> {
  const scheduler = await DDIMScheduler.fromPretrained(MODEL);
  const engine = new SamplerEngine(await UNet2DModel.fromPretrained(MODEL), { maxQueue: 256 });
  await engine.warmup({ batchSizes: [1, 2, 4, 8, 16] });
  let left = Number(REQUESTS);
  const server = createServer(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
    const gone = new AbortController(); // who hangs up frees the place
    response.on('close', () => gone.abort());
    try {
      if (request.method !== 'POST' || pathname !== '/image') return void response.writeHead(404).end('POST /image?seed=N\n');
      const image = await engine.sample({
        scheduler,
        seed: Number(searchParams.get('seed') ?? 0),
        numInferenceSteps: Number(searchParams.get('steps') ?? 20),
        deadline: 30_000,
        signal: gone.signal,
      });
      const png = await image.toBuffer('png');
      response.writeHead(200, { 'content-type': 'image/png', 'content-length': png.length }).end(png);
    } catch (error) {
      const status = error instanceof DiffusersError ? STATUS[error.code] : undefined;
      response.writeHead(status ?? 500).end(status === undefined ? 'failed\n' : `${(error as Error).message}\n`);
    } finally {
      if (--left === 0) {
        server.close();
        await engine.close();
      }
    }
  });
  server.listen(Number(PORT), () => process.stdout.write(`http://localhost:${(server.address() as AddressInfo).port}\n`));
}
void main();
