export { MAX_FILE_BYTES } from './repository';
export {
  componentFolder,
  DEFAULT_PATTERNS,
  HUB_OPTION_KEYS,
  resolveModelFolder,
  type ChooseFiles,
  type HubOptions,
  type HubProgress,
} from './resolve-model-folder';
