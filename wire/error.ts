/** The kinds of refusal a caller can act on; the spelling is MLflow's, so that its doors need no second list. */
export type ErrorCode =
  | "INVALID_PARAMETER_VALUE"
  | "BAD_REQUEST"
  | "RESOURCE_DOES_NOT_EXIST"
  | "ENDPOINT_NOT_FOUND"
  | "RESOURCE_ALREADY_EXISTS"
  | "INVALID_STATE"
  | "REQUEST_TOO_LARGE"
  | "LENGTH_REQUIRED"
  | "RANGE_NOT_SATISFIABLE"
  | "UNAUTHENTICATED"
  | "PERMISSION_DENIED"
  | "NOT_IMPLEMENTED"
  | "TEMPORARILY_UNAVAILABLE"
  | "INTERNAL_ERROR";

const statusOf: Record<ErrorCode, number> = {
  INVALID_PARAMETER_VALUE: 400,
  BAD_REQUEST: 400,
  UNAUTHENTICATED: 401,
  PERMISSION_DENIED: 403,
  RESOURCE_DOES_NOT_EXIST: 404,
  ENDPOINT_NOT_FOUND: 404,
  RESOURCE_ALREADY_EXISTS: 409,
  INVALID_STATE: 409,
  LENGTH_REQUIRED: 411,
  REQUEST_TOO_LARGE: 413,
  RANGE_NOT_SATISFIABLE: 416,
  INTERNAL_ERROR: 500,
  NOT_IMPLEMENTED: 501,
  TEMPORARILY_UNAVAILABLE: 503,
};

/** The one error that crosses the wire: a code to act on and a message that names the thing, then its value. */
export class ApiError extends Error {
  override name = "ApiError";
  readonly code: ErrorCode;
  readonly status: number;
  /** what the answer that carries it says beside */
  readonly headers: Record<string, string>;
  constructor(
    code: ErrorCode,
    message: string,
    status = statusOf[code],
    headers: Record<string, string> = {},
  ) {
    super(message);
    this.code = code;
    this.status = status;
    this.headers = headers;
  }
  toJSON(): { error_code: ErrorCode; message: string } {
    return { error_code: this.code, message: this.message };
  }
}

/** Returns a value as an error message shows it: JSON where it can be, cut at 80 characters. */
export function shown(value: unknown): string {
  const text = typeof value === "string" ? value : (safeJSON(value) ?? String(value));
  const printable = text.replace(
    /[\u0000-\u001f\u007f-\u009f\u2028\u2029\ud800-\udfff]/gu, // of surrogates, the lone ones
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  return printable.length > 80
    ? `${printable.slice(0, 80).toWellFormed()}… (${text.length} characters)`
    : printable;
}

function safeJSON(value: unknown): string | undefined {
  if (typeof value === "number") return undefined; // JSON would print NaN as null
  try {
    return JSON.stringify(value);
  } catch {
    return undefined;
  }
}
