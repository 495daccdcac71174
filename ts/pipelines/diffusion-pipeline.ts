import { DDIMPipeline } from './ddim-pipeline';
import { DDPMPipeline } from './ddpm-pipeline';
import { loadPipeline, type PipelineOptions } from './load';

/** Loads whichever pipeline a folder or hub repository holds, by the class its `model_index.json` names. */
export const DiffusionPipeline = {
  /** @throws NotFoundError, NetworkError, CheckpointError, ConfigError, DeviceError, DTypeError */
  async fromPretrained(folderOrRepo: string, options?: PipelineOptions): Promise<DDPMPipeline | DDIMPipeline> {
    const { pipelineClass, ...parts } = await loadPipeline(folderOrRepo, options);
    return pipelineClass === 'DDIMPipeline' ? new DDIMPipeline(parts) : new DDPMPipeline(parts);
  },
} as const;
