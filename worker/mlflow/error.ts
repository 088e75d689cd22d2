import type { ApiError, ErrorCode } from "../../wire/error.ts";

/** Whether a path is one of MLflow's, whose errors MLflow's clients read. */
export const isMlflow = (path: string): boolean =>
  (/^\/(ajax-)?api\//.test(path) && !path.startsWith("/api/v1/")) ||
  /^\/(v1\/traces|graphql|get-artifact|model-versions\/get-artifact|version|health)$/.test(path);

/** What MLflow's clients know no code for, or know under another status than ours. */
const known: Partial<Record<ErrorCode, [code: ErrorCode, status: number]>> = {
  RESOURCE_ALREADY_EXISTS: ["RESOURCE_ALREADY_EXISTS", 400],
  INVALID_STATE: ["INVALID_PARAMETER_VALUE", 400],
  REQUEST_TOO_LARGE: ["INVALID_PARAMETER_VALUE", 413],
  LENGTH_REQUIRED: ["BAD_REQUEST", 411],
  RANGE_NOT_SATISFIABLE: ["BAD_REQUEST", 416],
};

/** Returns the status and the body by which MLflow's clients know an error. */
export function mlflowError({ code, message, status }: ApiError): { status: number; body: object } {
  const [error_code, theirs] = known[code] ?? [code, status];
  return { status: theirs, body: { error_code, message } };
}
