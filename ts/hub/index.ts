export { MAX_FILE_BYTES } from './repository';
export {
  componentFolder,
  DEFAULT_PATTERNS,
  resolveModelFolder,
  type ChooseFiles,
  type HubOptions,
  type HubProgress,
} from './resolve-model-folder';
