import { join } from 'node:path';

/** The folder of the model that comes with the package: a DDPM of Fashion-MNIST, 32×32 in grey. */
export const EMBEDDED_MODEL = join(__dirname, '../../models/fashion-mnist-ddpm');
