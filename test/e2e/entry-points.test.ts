import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** Runs a user's program in the package's own folder, where its name resolves to dist. */
function run(type: 'module' | 'commonjs', code: string): unknown {
  const child = spawnSync(process.execPath, [`--input-type=${type}`, '-e', code], { encoding: 'utf8' });
  assert.equal(child.status, 0, child.stderr);
  assert.equal(child.stderr, '');
  return JSON.parse(child.stdout);
}

describe('e2e/entry points', () => {
  it('give the same classes to import and require', () => {
    const [missing, different] = run(
      'module',
      `import { createRequire } from 'node:module';
      import * as esm from 'node-diffusers';
      const cjs = createRequire(process.cwd() + '/x.js')('node-diffusers');
      const names = new Set([...Object.keys(esm), ...Object.keys(cjs)]);
      names.delete('default');
      names.delete('module.exports');
      names.delete('__esModule');
      const missing = [...names].filter((name) => esm[name] === undefined || cjs[name] === undefined);
      const different = [...names].filter((name) => esm[name] !== cjs[name]);
      console.log(JSON.stringify([missing, different]));`,
    ) as [string[], string[]];
    assert.deepEqual(missing, []);
    assert.deepEqual(different, []);
  });

  it('export what the contract names', () => {
    const names = run('commonjs', "console.log(JSON.stringify(Object.keys(require('node-diffusers'))))") as string[];
    const contract = [
      ...['Tensor', 'Generator', 'manualSeed', 'ops', 'tidy'],
      ...['randn', 'zeros', 'ones', 'full', 'arange', 'linspace', 'cat', 'stack', 'lerp', 'slerp'],
      ...['DDPMScheduler', 'DDIMScheduler', 'DDIMInverseScheduler', 'TorchScriptModel', 'UNet2DModel'],
      ...['DDPMPipeline', 'DDIMPipeline', 'DiffusionPipeline', 'DiffusersError', 'LibtorchError', 'setNumThreads', 'getNumThreads'],
    ];
    assert.deepEqual(
      contract.filter((name) => !names.includes(name)),
      [],
    );
  });

  it('load without the addon: it comes with the first call that needs it', () => {
    const loaded = run(
      'commonjs',
      `const { DiffusersError } = require('node-diffusers');
      const addons = Object.keys(require.cache).filter((file) => file.includes('node_diffusers'));
      console.log(JSON.stringify([typeof DiffusersError, addons]));`,
    );
    assert.deepEqual(loaded, ['function', []]);
  });

  it('expose package.json and nothing else', () => {
    const codes = run(
      'commonjs',
      `const code = (name) => { try { return typeof require(name); } catch (error) { return error.code; } };
      console.log(JSON.stringify([code('node-diffusers/package.json'), code('node-diffusers/dist/errors.js')]));`,
    );
    assert.deepEqual(codes, ['object', 'ERR_PACKAGE_PATH_NOT_EXPORTED']);
  });

  it('run nothing at install', () => {
    const { scripts, gypfile } = JSON.parse(readFileSync('package.json', 'utf8')) as {
      scripts: Record<string, string>;
      gypfile: boolean;
    };
    const hooks = ['preinstall', 'install', 'postinstall', 'preprepare', 'prepare', 'postprepare'];
    assert.deepEqual(
      Object.keys(scripts).filter((name) => hooks.includes(name)),
      [],
    );
    // Without this npm would run node-gyp for the binding.gyp that other tools look for.
    assert.equal(gypfile, false);
  });
});
