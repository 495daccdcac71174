import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FakeHub } from './fake-hub';

export const WEIGHTS = randomBytes(300_000);
export const FILES = [
  { path: 'model_index.json', content: Buffer.from('{"_class_name": "DDPMPipeline"}') },
  { path: 'unet/config.json', content: Buffer.from('{}') },
  { path: 'unet/diffusion_pytorch_model.safetensors', content: WEIGHTS, lfs: true },
  { path: 'unet/diffusion_pytorch_model.fp16.safetensors', content: Buffer.from('half'), lfs: true },
  { path: 'scheduler/scheduler_config.json', content: Buffer.from('{"beta_end": 0.02}') },
  { path: 'README.md', content: Buffer.from('# hello') },
];
export const NAME = 'someone/a-model';

const VARIABLES = [
  'HF_HOME',
  'HF_HUB_CACHE',
  'HUGGINGFACE_HUB_CACHE',
  'HF_TOKEN',
  'HF_TOKEN_PATH',
  'HF_ENDPOINT',
  'HF_HUB_OFFLINE',
  'HTTP_PROXY',
  'http_proxy',
  'NO_PROXY',
  'no_proxy',
];

/** An empty home for each test of the suite that calls this, and an environment that knows no hub. */
export function homeOfItsOwn(): { readonly home: string } {
  let home: string;
  let saved: Record<string, string | undefined>;

  beforeEach(async () => {
    saved = Object.fromEntries(VARIABLES.map((name) => [name, process.env[name]]));
    for (const name of VARIABLES) delete process.env[name];
    home = await mkdtemp(join(tmpdir(), 'hub-'));
    process.env['HF_HOME'] = home;
    process.env['NO_PROXY'] = '127.0.0.1';
  });

  afterEach(async () => {
    for (const [name, value] of Object.entries(saved)) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
    await rm(home, { recursive: true, force: true });
  });

  return {
    get home() {
      return home;
    },
  };
}

/** The same, with a hub of one repository. */
export function hubOfItsOwn(): { readonly hub: FakeHub; readonly home: string; storage(): string; leftovers(): Promise<string[]> } {
  const own = homeOfItsOwn();
  let hub: FakeHub;

  beforeEach(async () => {
    hub = new FakeHub(NAME, FILES);
    process.env['HF_ENDPOINT'] = await hub.start();
  });
  afterEach(() => hub.stop());

  return {
    get hub() {
      return hub;
    },
    get home() {
      return own.home;
    },
    storage: () => join(own.home, 'hub/models--someone--a-model'),
    leftovers: async () =>
      (await readdir(own.home, { recursive: true })).filter((name) => /\.(incomplete|tmp)$/.test(name)),
  };
}

export const rejects = (promise: Promise<unknown>, code: string, message: RegExp) =>
  assert.rejects(promise, (error: Error & { code?: string }) => {
    assert.equal(error.code, code, String(error));
    assert.match(error.message, message);
    return true;
  });
