import { Tensor, TorchScriptModel, UNet2DModel } from '../../ts/index';
import { LeftOut, nodeArm, shortName, type ArmPlan, type UNetCase } from './arms';
import { isFresh } from './bench-model';
import type { PythonPeers } from './python-peers';

const tensorOf = ({ sample, shape }: UNetCase): Tensor => Tensor.from(sample, [...shape]);

const numbersOf = (tensor: Tensor): Float32Array => {
  const numbers = tensor.to({ dtype: 'float32' }).toTypedArray() as Float32Array;
  tensor.dispose();
  return numbers;
};

/** This project's UNet2DModel. */
export function nativeArm(dtype: 'float32' | 'bfloat16'): ArmPlan {
  const name = `node-diffusers ${shortName[dtype]}`;
  return {
    name,
    open: async (unetCase) => {
      const unet = await UNet2DModel.fromPretrained(unetCase.folder, { dtype });
      const sample = tensorOf(unetCase);
      const close = (): void => [unet, sample].forEach((one) => one.dispose());
      const output = async (timestep: number) => numbersOf((await unet.forward(sample, timestep)).sample);
      return nodeArm({ name, dtype, own: true, output, close }, async (timestep) => {
        (await unet.forward(sample, timestep)).sample.dispose();
      });
    },
  };
}

/** The traced program of this batch, in float32. */
export function torchScriptArm(frozen: boolean, peers: PythonPeers): ArmPlan {
  const name = `TorchScript ${frozen ? 'frozen ' : ''}fp32`;
  return {
    name,
    open: async (unetCase) => {
      const batch = unetCase.shape[0];
      const file = `${unetCase.cachePrefix}-b${batch}${frozen ? '-frozen' : ''}.pt`;
      if (!(await isFresh(file, unetCase.folder))) {
        await peers.ask('export_torchscript', { folder: unetCase.folder, batch, file, frozen });
      }
      const model = await TorchScriptModel.load(file);
      const sample = tensorOf(unetCase);
      const predict = async (timestep: number): Promise<Tensor> => {
        const timesteps = Tensor.from(new BigInt64Array(batch).fill(BigInt(timestep)));
        try {
          return await model.forward<Tensor>(sample, timesteps);
        } finally {
          timesteps.dispose();
        }
      };
      const close = (): void => [model, sample].forEach((one) => one.dispose());
      const output = async (timestep: number) => numbersOf(await predict(timestep));
      return nodeArm({ name, dtype: 'float32', own: false, output, close }, async (timestep) => {
        (await predict(timestep)).dispose();
      });
    },
  };
}

/** onnxruntime-node on its CPU provider; `given` is used instead of an exported file. */
export function onnxArm(peers: PythonPeers, given?: string): ArmPlan {
  const name = 'onnxruntime-node fp32';
  return {
    name,
    open: async (unetCase) => {
      const { shape, folder, threads, cachePrefix } = unetCase;
      const file = given ?? `${cachePrefix}-b${shape[0]}.onnx`;
      if (given === undefined && !(await isFresh(file, folder))) {
        await peers.ask('export_onnx', { folder, batch: shape[0], file });
      }
      const ort = await import('onnxruntime-node').catch((cause: unknown) => {
        throw new LeftOut('onnxruntime-node is not installed here', { cause });
      });
      const session = await ort.InferenceSession.create(file, {
        executionProviders: ['cpu'],
        graphOptimizationLevel: 'all',
        executionMode: 'sequential',
        intraOpNumThreads: threads,
        interOpNumThreads: 1,
        logSeverityLevel: 3,
      });
      const sample = new ort.Tensor('float32', unetCase.sample, shape);
      const predict = async (timestep: number): Promise<Float32Array> => {
        const timesteps = new ort.Tensor('int64', new BigInt64Array(shape[0]).fill(BigInt(timestep)), [shape[0]]);
        const { output } = await session.run({ sample, timestep: timesteps });
        return output!.data as Float32Array;
      };
      const close = (): Promise<void> => session.release();
      return nodeArm({ name, dtype: 'float32', own: false, output: predict, close }, async (timestep) => {
        await predict(timestep);
      });
    },
  };
}
