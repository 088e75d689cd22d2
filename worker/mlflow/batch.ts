import { ApiError } from "../../wire/error.ts";
import { checkKey, checkLength, cut, limits } from "./limits.ts";
import { paramList } from "./run-json.ts";
import type { KeyValue } from "./tags.ts";

const invalid = (message: string) => new ApiError("INVALID_PARAMETER_VALUE", message);

/** Returns a param, checked, its value cut where it is too long; `path` is how errors call it. */
export function checkParam(
  param: { key: string | undefined; value: string | undefined } | undefined,
  path = "",
): KeyValue {
  const { key = "", value = "" } = param ?? {};
  checkLength(checkKey(key, `${path}key`), "Param key", limits.key);
  return { key, value: cut(value, limits.param) };
}

const most = { metrics: 1000, params: 100, tags: 100 };
const mostTogether = 1000;

/** Throws where a batch holds more than it may. */
export function checkCounts(counts: typeof most): void {
  for (const noun of ["metrics", "params", "tags"] as const)
    if (counts[noun] > most[noun]) throw tooMany(noun, most[noun], counts[noun]);
  const total = counts.metrics + counts.params + counts.tags;
  if (total > mostTogether) throw tooMany("metrics, params, and tags", mostTogether, total);
}

const tooMany = (nouns: string, limit: number, count: number) =>
  invalid(
    `A batch logging request can contain at most ${limit} ${nouns}. Got ${count} ${nouns}. Please split up ${nouns} across multiple requests and try again.`,
  );

/** Throws where a param is there twice. */
export function checkUnique(params: KeyValue[]): void {
  const seen = new Set<string>();
  const again = params.flatMap(({ key }) => (seen.size === seen.add(key).size ? [key] : []));
  if (again.length)
    throw invalid(
      `Duplicate parameter keys have been submitted: [${again.map(quoted).join(", ")}]. Please ensure the request contains only one param value per param key.`,
    );
}

/** Lists the params that were to change, as Python writes a list. */
export function conflictsOf(stored: string, sent: KeyValue[]): string {
  const before = new Map(paramList(stored).map(({ key, value }) => [key, value]));
  const changed = sent.filter(({ key, value }) => (before.get(key) ?? value) !== value);
  const each = changed.map(
    ({ key, value }) =>
      `{'key': ${quoted(key)}, 'old_value': ${quoted(before.get(key)!)}, 'new_value': ${quoted(value)}}`,
  );
  return `[${each.join(", ")}]`;
}

/** A text as Python writes it in a list. */
function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text
    .replaceAll("\\", "\\\\")
    .replaceAll("\n", "\\n")
    .replaceAll("\r", "\\r")
    .replaceAll("\t", "\\t");
  return quote + (quote === "'" ? escaped.replaceAll("'", "\\'") : escaped) + quote;
}
