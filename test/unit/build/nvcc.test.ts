import assert from 'node:assert/strict';
import path from 'node:path';
import { scratchFolder } from './scratch';

const importNvcc = () => import('../../../scripts/build/nvcc.mjs');

describe('build/nvcc', () => {
  const scratch = scratchFolder();
  let nvcc: Awaited<ReturnType<typeof importNvcc>>;
  const fake = (name: string, release: string) =>
    scratch.write(`${name}/bin/nvcc`, `#!/bin/sh\necho 'Cuda compilation tools, release ${release}, V${release}.88'\n`, 0o755);

  before(async () => {
    nvcc = await importNvcc();
  });

  it('takes $CUDACXX first, then the PATH, then $CUDA_HOME', () => {
    fake('a', '13.0');
    fake('b', '12.8');
    const [a, b] = ['a', 'b'].map((name) => path.join(scratch.folder, name, 'bin', 'nvcc')) as [string, string];
    const PATH = `${path.dirname(b)}:/usr/bin:/bin`;
    assert.deepEqual(nvcc.findNvcc({ CUDACXX: a, PATH }), { command: a, version: '13.0' });
    assert.deepEqual(nvcc.findNvcc({ PATH }), { command: b, version: '12.8' });
    assert.deepEqual(nvcc.findNvcc({ CUDACXX: 'nvcc', PATH }), { command: b, version: '12.8' });
    assert.deepEqual(nvcc.findNvcc({ PATH: '/usr/bin:/bin', CUDA_HOME: path.join(scratch.folder, 'a') }), {
      command: a,
      version: '13.0',
    });
  });

  it('says why the kernels of a libtorch cannot be built, and nothing where they can', () => {
    const of = (version: string) => ({ command: 'nvcc', version });
    assert.equal(nvcc.whyNoCudaKernels('cu130', of('13.0')), undefined);
    assert.equal(nvcc.whyNoCudaKernels('cu130', of('13.2')), undefined);
    assert.match(nvcc.whyNoCudaKernels('cu130', of('12.8')) ?? '', /nvcc is 12.8, libtorch's CUDA is 13/);
    assert.match(nvcc.whyNoCudaKernels('cu126', undefined) ?? '', /nvcc was not found \(CUDA 12's compiler\)/);
    assert.match(nvcc.whyNoCudaKernels('cpu', of('13.0')) ?? '', /libtorch is cpu/);
  });
});
