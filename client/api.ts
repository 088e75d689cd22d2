import { ApiError, type ErrorCode } from "../wire/error.ts";
import { toJSON } from "../wire/json.ts";

/** How to reach a server. */
export interface ApiOptions {
  token?: string | undefined;
  fetch?: typeof globalThis.fetch;
}

type Query = Record<string, string | number | string[] | undefined>;

/** What a request carries besides its method and path. */
export interface RequestOptions {
  query?: Query;
  /** a Blob or bytes as they are; anything else as JSON */
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

/** A server's API: paths in, responses or ApiErrors out. */
export class Api {
  readonly url: string;
  readonly #token: string | undefined;
  readonly #fetch: typeof globalThis.fetch;

  constructor(url: string, { token, fetch = globalThis.fetch.bind(globalThis) }: ApiOptions = {}) {
    if (!/^https?:/.test(URL.parse(url)?.protocol ?? ""))
      throw new TypeError(`invalid url: ${url}`);
    this.url = new URL(url).href.replace(/\/+$/, "");
    this.#token = token;
    this.#fetch = fetch;
  }

  /** Sends a request; throws an ApiError with the server's code and message where it refuses, a TypeError where it cannot be reached. */
  async request(
    method: string,
    path: string,
    { query = {}, body, headers = {}, signal }: RequestOptions = {},
  ): Promise<Response> {
    const isPlain = body !== undefined && !(body instanceof Blob) && !(body instanceof Uint8Array);
    const response = await this.#fetch(`${this.url}/api/v1${path}${searchOf(query)}`, {
      method,
      headers: {
        ...(this.#token ? { authorization: `Bearer ${this.#token}` } : {}),
        ...(isPlain ? { "content-type": "application/json" } : {}),
        ...headers,
      },
      ...(body === undefined ? {} : { body: isPlain ? toJSON(body) : (body as BodyInit) }),
      ...(signal ? { signal } : {}),
    });
    if (!response.ok) throw await refusal(response);
    return response;
  }

  async json<T>(method: string, path: string, options?: RequestOptions): Promise<T> {
    return (await this.request(method, path, options)).json() as Promise<T>;
  }
}

function searchOf(query: Query): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    if (value !== undefined)
      for (const one of Array.isArray(value) ? value : [value]) search.append(name, String(one));
  return search.size ? `?${search}` : "";
}

/** An ApiError that also says when the server wants to be asked again, in ms. */
export class Refusal extends ApiError {
  readonly retryAfter: number | undefined;
  constructor(code: ErrorCode, message: string, status: number, retryAfter?: number) {
    super(code, message, status);
    this.retryAfter = retryAfter;
  }
}

async function refusal(response: Response): Promise<Refusal> {
  const after = response.headers.get("retry-after");
  const seconds =
    after === null
      ? NaN
      : /^\d+$/.test(after)
        ? Number(after)
        : (Date.parse(after) - Date.now()) / 1000;
  const body = Object(await response.json().catch(() => ({}))) as {
    error_code?: ErrorCode;
    message?: string;
  };
  return new Refusal(
    body.error_code ?? "INTERNAL_ERROR",
    body.message ?? `${response.url}: ${response.status} ${response.statusText}`,
    response.status,
    Number.isNaN(seconds) ? undefined : Math.max(0, seconds * 1000),
  );
}
