import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { getHFHubCachePath } from '@huggingface/hub';
import { ArgumentError } from '../errors';

/** What the environment says of the hub; the variables are those of Python's huggingface_hub. */
export interface HubSettings {
  /** HF_ENDPOINT, else https://huggingface.co; without a slash at the end. */
  readonly endpoint: string;
  /** HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub. */
  readonly cacheDir: string;
  /** Whether HF_HUB_OFFLINE is set to 1, on, yes or true. */
  readonly offline: boolean;
}

/**
 * Reads the hub's settings from the environment, anew at each call.
 *
 * @throws ArgumentError if HF_ENDPOINT is no http(s) address.
 */
export function hubSettings(): HubSettings {
  const endpoint = (process.env['HF_ENDPOINT'] || 'https://huggingface.co').replace(/\/+$/, '');
  if (!/^https?:\/\//.test(endpoint) || !URL.canParse(endpoint)) {
    throw new ArgumentError(`HF_ENDPOINT must be an http or https address, got ${JSON.stringify(endpoint)}`);
  }
  const offline = /^(1|on|yes|true)$/i.test(process.env['HF_HUB_OFFLINE'] ?? '');
  return { endpoint, cacheDir: getHFHubCachePath(), offline };
}

/** The access token: HF_TOKEN, else the file that `hf auth login` writes; `undefined` without one. */
export async function hubToken(): Promise<string | undefined> {
  const fromEnvironment = process.env['HF_TOKEN']?.trim();
  if (fromEnvironment) return fromEnvironment;
  const home =
    process.env['HF_HOME'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'huggingface');
  try {
    return (await readFile(process.env['HF_TOKEN_PATH'] ?? join(home, 'token'), 'utf8')).trim() || undefined;
  } catch {
    return undefined;
  }
}
