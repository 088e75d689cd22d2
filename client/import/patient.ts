import { Refusal, type Api, type RequestOptions } from "../api.ts";
import { backOff, isFinal } from "../retry.ts";

/** How long an answer is waited for, in ms: files may be large and lines slow. */
const longest = 600_000;

/** How an import asks a server that may be busy or away for a while. */
export interface Patience {
  /** how often a request is tried in all; defaults to 8, which is about a minute */
  attempts?: number;
  /** how long to wait after an attempt, in ms */
  pause?: (attempt: number) => number;
}

/** Sends requests until they are answered, or refused for good. All that an import sends may be sent twice. */
export class PatientApi {
  readonly #api: Api;
  readonly #attempts: number;
  readonly #pause: (attempt: number) => number;
  /** whether the server is on this machine, where compressing costs more than sending */
  readonly isNear: boolean;

  constructor(api: Api, { attempts = 8, pause = backOff }: Patience = {}) {
    this.#api = api;
    this.#attempts = attempts;
    this.#pause = pause;
    this.isNear = /^(127\.0\.0\.1|localhost|\[::1\])$/.test(new URL(api.url).hostname);
  }

  async json<T>(method: string, path: string, options?: RequestOptions): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#api.json<T>(method, path, {
          ...options,
          signal: AbortSignal.timeout(longest),
        });
      } catch (error) {
        const isRefused = error instanceof Refusal && [401, 403, 407].includes(error.status);
        if (isFinal(error) || isRefused || attempt + 1 >= this.#attempts) throw error;
        const asked = error instanceof Refusal ? (error.retryAfter ?? 0) : 0;
        const ms = Math.max(this.#pause(attempt), asked);
        await new Promise((resolve) => setTimeout(resolve, ms));
      }
    }
  }

  /** Returns what stands at a path; undefined where there is nothing. */
  async maybe<T>(path: string): Promise<T | undefined> {
    try {
      return await this.json<T>("GET", path);
    } catch (error) {
      if (error instanceof Refusal && error.code === "RESOURCE_DOES_NOT_EXIST") return undefined;
      throw error;
    }
  }
}
