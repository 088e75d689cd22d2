import { ApiError } from "../../wire/error.ts";
import {
  fieldName,
  plainTypeOf,
  statisticOf,
  type Field,
  type Statistic,
} from "../../wire/field.ts";
import type { Value } from "../../wire/filter.ts";
import { maybeNumber } from "../../wire/json.ts";
import { stalledAfter } from "../../wire/run.ts";
import type { Bound } from "./bound.ts";
import { now } from "./events.ts";
import { partOf } from "./summaries.ts";

/** SQL that stands for a field of a row of `runs`. */
export interface Source {
  /** what a value is: a text, a number (NULL for NaN), a boolean (0 or 1), or any of them, as params are */
  type: "text" | "number" | "boolean" | "any";
  value: string;
  /** whether there is a value */
  isPresent: string;
  /** of any: whether the value, 0 or 1, is a boolean */
  isBoolean?: string;
  /** whether SQLite may round a number otherwise than JavaScript does */
  isRounded?: boolean;
  /** the value as JSON, for NaN null; NULL where there is none */
  json: string;
}

const experimentName = "(SELECT name FROM experiments AS e WHERE e.id = runs.experiment)";

const plain: Record<string, string> = {
  no: "runs.no",
  id: "runs.id",
  name: "runs.name",
  number: "runs.number",
  experiment: experimentName,
  state: "runs.state",
  stalled: `(runs.state = 'running' AND ${now} - runs.heartbeat > ${stalledAfter})`,
  started: "runs.started",
  ended: "runs.ended",
  duration: "((coalesce(runs.ended, runs.heartbeat) - runs.started) / 1000.0)",
  heartbeat: "runs.heartbeat",
  points: "runs.points",
  lines: "runs.lines",
  parent: "runs.parent",
  source: "runs.source",
  error: "nullif(runs.error, '')",
  note: "nullif(runs.note, '')",
  archived: "runs.archived",
  deleted: "runs.deleted",
  status: "upper(runs.state)",
};

/** Returns what stands for a field in statements over `runs`. `artifactURI` is SQL for where MLflow's clients find a run's files. */
export function sourceOf(
  field: Field,
  bound: Bound,
  { artifactURI }: { artifactURI?: string | undefined } = {},
): Source {
  const { kind, key, strict } = field;
  if (kind === "metrics") return metricSource(field, bound);
  if (kind === "tags") return textSource(memberOf("runs.tags", key, bound).value);
  if (kind === "params") {
    const { value, json, type } = memberOf("runs.params", key, bound);
    if (strict)
      return textSource(
        `CASE typeof(${value}) WHEN 'text' THEN ${value} WHEN 'null' THEN NULL ELSE ${json} END`,
      );
    return {
      type: "any",
      value,
      isPresent: `${value} IS NOT NULL`,
      isBoolean: `(${value} IN (0, 1) AND ${type} IN ('true', 'false'))`,
      json: `CASE WHEN ${value} IS NOT NULL THEN ${json} END`,
    };
  }
  const value = key === "artifact_uri" ? artifactURI : plain[key];
  if (value === undefined || kind === "datasets")
    throw new ApiError("NOT_IMPLEMENTED", `runs are not searched by ${fieldName(field)}`);
  const type = plainTypeOf(field);
  if (type === "text") return textSource(value);
  const isBoolean = type === "boolean";
  return {
    type: isBoolean ? "boolean" : "number",
    value,
    isPresent: `${value} IS NOT NULL`,
    json: isBoolean ? `CASE WHEN ${value} THEN 'true' ELSE 'false' END` : `json_quote(${value})`,
  };
}

/** Returns the value that a source's JSON stands for; undefined where there is none. */
export function valueFromJSON({ kind, strict }: Field, json: string | null): Value | undefined {
  if (json === null) return undefined;
  const value = JSON.parse(json) as Value | null;
  if (kind === "metrics") return value ?? NaN;
  if (kind === "params" && !strict) return maybeNumber(value) ?? value ?? undefined;
  return value ?? undefined;
}

const textSource = (value: string): Source => ({
  type: "text",
  value,
  isPresent: `${value} IS NOT NULL`,
  json: `CASE WHEN ${value} IS NOT NULL THEN json_quote(${value} || '') END`, // what -> gives is JSON already, and not quoted
});

/** SQL for a member of a JSON object: its value (a boolean is 0 or 1), its JSON, what it is to look further into, its type. */
function memberOf(object: string, key: string, bound: Bound) {
  // A path cannot name such a key in every version of SQLite.
  if (/["\\\u0000-\u001f]/.test(key)) {
    const find = (what: string) =>
      `(SELECT ${what} FROM json_each(${object}) AS j WHERE j.key = ${bound.value(key)})`;
    const json = find(`${object} -> j.fullkey`);
    return { value: find("j.value"), json, inner: json, type: find("j.type") };
  }
  const path = bound.value(`$."${key}"`);
  return {
    value: `(${object} ->> ${path})`,
    json: `(${object} -> ${path})`,
    inner: `jsonb_extract(${object}, ${path})`,
    type: `json_type(${object}, ${path})`,
  };
}

function metricSource(field: Field, bound: Bound): Source {
  const own = summaryOf(field.key, bound);
  const other = statisticOf(field);
  const ownLast = `(${own} ->> '$.last')`;
  if (!other) {
    return {
      type: "number",
      value: ownLast,
      isPresent: `${own} IS NOT NULL`,
      json: `(${own} -> '$.last')`,
    };
  }
  const base = summaryOf(other.key, bound);
  return {
    type: "number",
    value: `CASE WHEN ${own} IS NOT NULL THEN ${ownLast} ELSE ${statisticIn(base, other.of)} END`,
    isPresent: `coalesce(${own}, ${base}) IS NOT NULL`,
    isRounded: other.of === "mean",
    json: `CASE WHEN ${own} IS NOT NULL THEN ${own} -> '$.last' WHEN ${base} IS NOT NULL THEN
      coalesce(json_quote(${statisticIn(base, other.of)}), 'null') END`,
  };
}

/** SQL for the summary of a metric: in the run's row, or where that had no room, in more_metrics. */
function summaryOf(key: string, bound: Bound): string {
  const own = memberOf("runs.metrics", key, bound).inner;
  const more = memberOf("m.metrics", key, bound).inner;
  return `coalesce(${own}, (SELECT ${more} FROM more_metrics AS m WHERE m.run = runs.no AND m.part = ${partOf(key)}))`;
}

function statisticIn(summary: string, of: Statistic): string {
  if (of !== "mean") return `(${summary} ->> '$.${of}')`;
  return `(SELECT CASE WHEN s ->> '$.count' > s ->> '$.nan'
    THEN (s ->> '$.sum') / CAST((s ->> '$.count') - (s ->> '$.nan') AS REAL) END FROM (SELECT ${summary} AS s))`;
}
