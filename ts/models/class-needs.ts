import { TorchScriptUNet } from './torchscript-unet';
import { UNet2DModel } from './unet2d-model';
import { checkClassLabels, classNeedsOf } from './unet-inputs';
import type { UNetLike } from './unet-like';

/**
 * Whether classes are given where a UNet wants some, before it is called; a UNet of somebody's own sees for itself.
 *
 * @param name the option's, for errors
 * @throws ArgumentError
 */
export function checkClassesOf(unet: UNetLike, classLabels: unknown, name = 'classLabels'): void {
  if (unet instanceof UNet2DModel) checkClassLabels(classLabels, classNeedsOf(unet.config), name);
  if (unet instanceof TorchScriptUNet) checkClassLabels(classLabels, unet.classNeeds, name);
}
