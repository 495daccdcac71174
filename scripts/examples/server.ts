// Images over HTTP: curl -X POST 'http://localhost:8080/image?seed=7' -o image.png
//   [PORT=8080] [REQUESTS=N] npx tsx scripts/examples/server.ts      (with REQUESTS it ends after as many)
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
// A program would import from 'node-diffusers'.
import { DDIMPipeline, DiffusersError, Generator } from '../../ts/index';

const { PORT = '8080', REQUESTS = 'Infinity' } = process.env;

async function main(): Promise<void> {
  const pipe = await DDIMPipeline.fromPretrained(join(__dirname, '../../models/fashion-mnist-ddpm'));
  let left = Number(REQUESTS);
  const server = createServer(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
    const gone = new AbortController(); // who hangs up stops the work
    response.on('close', () => gone.abort());
    try {
      if (request.method !== 'POST' || pathname !== '/image') return void response.writeHead(404).end('POST /image?seed=N\n');
      const generator = new Generator({ seed: Number(searchParams.get('seed') ?? 0) });
      const { images } = await pipe.run({ generator, numInferenceSteps: 20, signal: gone.signal });
      const png = await images[0]!.toBuffer('png');
      response.writeHead(200, { 'content-type': 'image/png', 'content-length': png.length }).end(png);
    } catch (error) {
      // A wrong seed is the client's fault; the rest is ours, and its message nobody else's.
      const wrong = error instanceof DiffusersError && error.code === 'ERR_ARGUMENT';
      response.writeHead(wrong ? 400 : 500).end(wrong ? `${error.message}\n` : 'failed\n');
    } finally {
      if (--left === 0) server.close();
    }
  });
  server.listen(Number(PORT), () => process.stdout.write(`http://localhost:${(server.address() as AddressInfo).port}\n`));
}
void main();
