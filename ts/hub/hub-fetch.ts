import { EnvHttpProxyAgent, fetch as undiciFetch, type RequestInit as UndiciRequestInit } from 'undici';
import { NetworkError } from '../errors';

/** An API answer is a list of files at most; a body without an end must not fill the memory. */
const MAX_API_BYTES = 64 * 1024 * 1024;

/** The pages of a file list end by the server's word alone, so that requests are counted. */
const MAX_REQUESTS = 100_000;

/** A `fetch` for one snapshot, and how to let go of its connections. */
export interface HubFetch {
  readonly fetch: typeof fetch;
  close(): Promise<void>;
}

/**
 * A `fetch` that goes through the proxies of HTTP_PROXY, HTTPS_PROXY and NO_PROXY, bounds answers of the hub's API and
 * sends the token to the endpoint's own origin only, wherever its links and redirects lead.
 */
export function openHubFetch(endpoint: string, token: string | undefined, signal: AbortSignal | undefined): HubFetch {
  const { origin } = new URL(endpoint);
  const dispatcher = new EnvHttpProxyAgent();
  let requests = 0;
  const hubFetch = async (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    if (++requests > MAX_REQUESTS) throw new NetworkError(`${endpoint} needs more than ${MAX_REQUESTS} requests`);
    const url = new URL(input instanceof Request ? input.url : input);
    const headers = new Headers(init.headers);
    if (token !== undefined && url.origin === origin) headers.set('authorization', `Bearer ${token}`);
    const answer = (await undiciFetch(url, {
      ...(init as unknown as UndiciRequestInit),
      headers: Object.fromEntries(headers),
      dispatcher,
      ...(signal === undefined ? {} : { signal }),
    })) as unknown as Response;
    const isDownload = answer.ok && !url.pathname.includes('/api/');
    return isDownload ? answer : bounded(answer, url);
  };
  return { fetch: hubFetch as typeof fetch, close: () => dispatcher.destroy() };
}

/** The same answer, whose body fails above {@link MAX_API_BYTES}. */
function bounded(answer: Response, url: URL): Response {
  if (answer.body === null) return answer;
  let bytes = 0;
  const limit = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      bytes += chunk.length;
      if (bytes > MAX_API_BYTES) {
        controller.error(
          new NetworkError(`${url.origin}${url.pathname} answered with more than ${MAX_API_BYTES} bytes`),
        );
      } else {
        controller.enqueue(chunk);
      }
    },
  });
  const { status, statusText, headers } = answer;
  const copy = new Response(answer.body.pipeThrough(limit), { status, statusText, headers });
  Object.defineProperty(copy, 'url', { value: answer.url });
  return copy;
}
