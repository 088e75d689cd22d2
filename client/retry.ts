import { ApiError } from "../wire/error.ts";

/** Whether asking again cannot help. A wrong token can be mended while the run goes on; so can a proxy in between. */
export function isFinal(error: unknown): error is ApiError {
  return (
    error instanceof ApiError &&
    error.status >= 400 &&
    error.status < 500 &&
    (error.code !== "INTERNAL_ERROR" || error.status === 413) && // else a proxy says it, not Assay
    ![401, 403, 407, 408, 425, 429].includes(error.status)
  );
}

/** Half a second, doubled at each attempt up to 30 s, of which a random half is taken off: clients must not retry in step. */
export const backOff = (attempt: number): number =>
  Math.min(500 * 2 ** attempt, 30_000) * (0.5 + Math.random() / 2);
