export { EMBEDDED_MODEL } from './embedded-model';
export { loadUNet, type LoadUNetOptions } from './load-unet';
export {
  TorchScriptModel,
  type BoundForward,
  type TorchScriptLoadOptions,
  type TorchScriptValue,
} from './torchscript-model';
export { UNet2DModel, type UNet2DOptions, type UNet2DTarget } from './unet2d-model';
export type { UNetForwardOptions, UNetLike, UNetLikeConfig, UNetTimestep } from './unet-like';
export type { SaveOptions } from './weight-files';
