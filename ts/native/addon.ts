import { join } from 'node:path';
import { makeError } from '../errors';
import type { NativeAddon } from './addon-types';

let loaded: NativeAddon | undefined;

/** The compiled addon, loaded on first use. */
export function addon(): NativeAddon {
  if (loaded === undefined) {
    loaded = require(join(__dirname, '../../build/Release/node_diffusers.node')) as NativeAddon;
    loaded.init({ makeError });
  }
  return loaded;
}
