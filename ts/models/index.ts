export { loadUNet, type LoadUNetOptions } from './load-unet';
export {
  TorchScriptModel,
  type BoundForward,
  type TorchScriptLoadOptions,
  type TorchScriptValue,
} from './torchscript-model';
export type { UNetForwardOptions, UNetLike, UNetLikeConfig, UNetTimestep } from './unet-like';
