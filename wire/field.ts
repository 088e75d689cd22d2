/**
 * One thing that is known of a run: a plain one such as `state`, or a param, tag or metric by its key. A metric's key may
 * end in a statistic, `loss.min`: the metric whose own key is just that is meant before the statistic of `loss`, for
 * each run by itself.
 */
export interface Field {
  kind: "plain" | "params" | "tags" | "metrics";
  key: string;
  /** as MLflow means it: a param is text, by the very text that was logged, and a metric's key has no statistic */
  strict?: true;
}

/** What a plain field's values are; times are ms since 1970, durations seconds. */
export type PlainType = "text" | "number" | "boolean" | "time" | "duration";

const plainTypes: Record<string, PlainType> = {
  id: "text",
  name: "text",
  number: "number",
  experiment: "text",
  state: "text",
  stalled: "boolean",
  started: "time",
  ended: "time",
  duration: "duration",
  heartbeat: "time",
  points: "number",
  lines: "number",
  parent: "text",
  source: "text",
  error: "text",
  note: "text",
  archived: "time",
  deleted: "time",
  // As MLflow says it, RUNNING; and where MLflow's clients find the files.
  status: "text",
  artifact_uri: "text",
};

/** Returns the type of a plain field's values, undefined for any other field. */
export const plainTypeOf = ({ kind, key }: Field): PlainType | undefined =>
  kind === "plain" ? own(plainTypes, key) : undefined;

/** What is known of a metric, besides its last value. */
export const statistics = [
  "last",
  "step",
  "min",
  "minStep",
  "max",
  "maxStep",
  "mean",
  "count",
  "nan",
] as const;
export type Statistic = (typeof statistics)[number];

/** Returns the metric and statistic that a metric's key stands for, where no metric has that very key. */
export function statisticOf({ key, strict }: Field): { key: string; of: Statistic } | undefined {
  const dot = key.lastIndexOf(".");
  const of = statistics.find((name) => name === key.slice(dot + 1));
  return dot > 0 && of && !strict ? { key: key.slice(0, dot), of } : undefined;
}

/** MLflow's words for our kinds, and our own. */
const kinds: Record<string, Field["kind"]> = {
  params: "params",
  param: "params",
  parameter: "params",
  parameters: "params",
  tags: "tags",
  tag: "tags",
  metrics: "metrics",
  metric: "metrics",
  attributes: "plain",
  attribute: "plain",
  attr: "plain",
  run: "plain",
};

/** MLflow's words for plain fields. */
const aliases: Record<string, Field> = {
  run_id: { kind: "plain", key: "id" },
  run_name: { kind: "plain", key: "name" },
  "run name": { kind: "plain", key: "name" },
  "Run name": { kind: "plain", key: "name" },
  "Run Name": { kind: "plain", key: "name" },
  start_time: { kind: "plain", key: "started" },
  created: { kind: "plain", key: "started" },
  Created: { kind: "plain", key: "started" },
  end_time: { kind: "plain", key: "ended" },
  user_id: { kind: "tags", key: "mlflow.user" },
};

/** Returns the plain field of a name, ours or MLflow's. */
export const plainField = (name: string): Field | undefined =>
  own(aliases, name) ??
  (Object.hasOwn(plainTypes, name) ? { kind: "plain", key: name } : undefined);

/** Returns the field of a name as columns have it, the inverse of fieldName; keys stand there as they are. */
export function fieldFromName(name: string): Field | undefined {
  const dot = name.indexOf(".");
  const kind = own(kinds, name.slice(0, Math.max(dot, 0)));
  const key = name.slice(dot + 1);
  if (!kind || kind === "plain") return plainField(kind ? key : name);
  return key === "" ? undefined : { kind, key };
}

/** Returns a field's name as columns have it, such as `params.lr`. */
export const fieldName = ({ kind, key }: Field): string =>
  kind === "plain" ? key : `${kind}.${key}`;

/** Returns the field that is written in a filter or an order, its key in quotes where it needs them; undefined where there is none such. */
export const parseField = (text: string): Field | undefined => fieldFromName(unquoted(text));

/** Takes the quotes off the parts of a field; within them, a doubled quote is one of the key. */
function unquoted(text: string): string {
  return text.replace(
    /(^|\.)(?:`((?:[^`]|``)*)`|"((?:[^"]|"")*)"|'((?:[^']|'')*)')/g,
    (_, dot: string, ...parts: (string | undefined)[]) => {
      const at = parts.findIndex((part, i) => i < 3 && part !== undefined);
      const quote = "`\"'"[at]!;
      return dot + parts[at]!.replaceAll(quote + quote, quote);
    },
  );
}

/** Returns a field as it is written in a filter, the inverse of parseField. */
export function formatField(field: Field): string {
  const { kind, key } = field;
  if (kind === "plain" || /^[\w\-/.@#]+$/.test(key)) return fieldName(field);
  const quote = ["`", '"', "'"].find((quote) => !key.includes(quote)) ?? "`";
  return `${kind}.${quote}${key.replaceAll(quote, quote + quote)}${quote}`;
}

const own = <T>(record: Record<string, T>, key: string): T | undefined =>
  Object.hasOwn(record, key) ? record[key] : undefined;
