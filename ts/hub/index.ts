export { componentFolder, DEFAULT_PATTERNS, resolveModelFolder, type HubOptions } from './resolve-model-folder';
export { MAX_FILE_BYTES, type HubProgress } from './snapshot';
