import * as v from "valibot";
import { ApiError, shown } from "./error.ts";

/** Returns the value a schema describes, with its defaults filled in; throws an ApiError that names the field and its value. */
export function parse<S extends v.GenericSchema>(
  schema: S,
  value: unknown,
  noun = "body",
): v.InferOutput<S> {
  if (schema.type === "strict_object" && Array.isArray(value))
    throw invalid(`invalid ${noun}: ${shown(value)} (expected an object)`); // valibot takes a list for one
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  const { issue, path } = innermost(result.issues[0], noun);
  if (issue.type === "strict_object" && issue.expected !== "Object") {
    const isMissing = issue.expected !== "never";
    throw invalid(`${isMissing ? "missing" : "unknown"} field: ${path}`);
  }
  if (issue.type === "raw_transform") throw invalid(issue.message); // it names the thing and the value itself
  const said = issue.message.startsWith("Invalid") ? "" : issue.message;
  const expected = issue.kind === "schema" && issue.expected ? `expected ${issue.expected}` : "";
  const wanted = said || expected ? ` (${said || expected})` : "";
  throw invalid(`invalid ${path}: ${shown(issue.input)}${wanted}`);
}

/** Returns what is wrong and where; of the alternatives of a union, the one that got furthest says it. */
function innermost(issue: v.BaseIssue<unknown>, noun: string) {
  const names: string[] = [];
  for (let at = issue; ;) {
    const dots = v.getDotPath(at);
    if (dots !== null) names.push(!names.length && /^\d/.test(dots) ? `${noun}.${dots}` : dots);
    const inner = at.issues?.find(({ kind, path }) => path || kind === "validation");
    if (!inner) return { issue: at, path: names.join(".") || noun };
    at = inner;
  }
}

const invalid = (message: string) => new ApiError("INVALID_PARAMETER_VALUE", message);

/** Free text that people read in one line: a name. Neither empty nor long, no control characters, no lone surrogates. */
export const Name = v.pipe(
  v.string(),
  v.check(isName, "expected 1 to 250 characters of plain text"),
);

/** Whether a text can be the name of an experiment, run, metric, param or tag. */
export function isName(value: string): boolean {
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  return (
    value.length > 0 &&
    value.length <= 250 &&
    value.trim() !== "" &&
    !/[\u0000-\u001f\u007f]/.test(value) &&
    value.isWellFormed()
  );
}

/** Text of any length up to a limit, without lone surrogates (they cannot be stored as UTF-8). */
export const text = (limit: number) =>
  v.pipe(
    v.string(),
    v.check((s) => s.length <= limit, `expected at most ${limit} characters`),
    v.check((s) => s.isWellFormed(), "expected well-formed Unicode"),
  );
