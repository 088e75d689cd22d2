import { ApiError } from "./error.ts";
import { plainField, type Field } from "./field.ts";
import type { Comparison, Filter, Operator, Value } from "./filter.ts";
import { cut, isOperand, type Unit } from "./mlflow-tokens.ts";

/** What MLflow searches. */
export type MlflowEntity =
  | "run"
  | "experiment"
  | "registered model"
  | "model version"
  | "logged model"
  | "trace";

type Kind =
  | "metric"
  | "parameter"
  | "tag"
  | "attribute"
  | "dataset"
  | "request_metadata"
  | "span"
  | "feedback"
  | "expectation"
  | "issue";

/** A field by MLflow's names. */
export interface MlflowField {
  kind: Kind;
  key: string;
}

/** What can be asked of an entity; sets are listed in the order in which MLflow's messages were seen to list them. */
interface Rules {
  /** the prefixes that MLflow has for its kinds */
  kinds: Record<string, Kind>;
  /** how it answers other prefixes */
  unknownKind: string;
  attributes: string[];
  orderable: string[];
  numeric: string[];
  /** the attributes that take lists; defaults to all */
  lists?: string[];
  /** the kinds that IS NULL is for, as a message says them */
  nullable: [Kind[], string];
  /** whether clauses stand in quotes where they are refused */
  isQuoting: boolean;
}

const tagKinds: Record<string, Kind> = { tag: "tag", tags: "tag", attribute: "attribute" };
const runKinds: Record<string, Kind> = {
  ...tagKinds,
  attr: "attribute",
  attributes: "attribute",
  run: "attribute",
  metric: "metric",
  metrics: "metric",
  param: "parameter",
  params: "parameter",
  parameter: "parameter",
  parameters: "parameter",
  dataset: "dataset",
  datasets: "dataset",
};
const unknownRunKind = "Valid values are ['metric', 'parameter', 'tag', 'attribute', 'dataset']";
const unknownTagKind = "Valid entity types are ('attribute', 'tag', 'tags')";
const forTags: Rules["nullable"] = [["tag"], "tags"];

const rulesOf: Record<MlflowEntity, Rules> = {
  run: {
    kinds: runKinds,
    unknownKind: unknownRunKind,
    attributes: [
      "Created",
      "Run Name",
      "end_time",
      "user_id",
      "run name",
      "run_name",
      "start_time",
      "Run name",
      "run_id",
      "created",
      "artifact_uri",
      "status",
    ],
    orderable: [
      "Created",
      "end_time",
      "user_id",
      "run_name",
      "start_time",
      "run_id",
      "created",
      "status",
      "artifact_uri",
    ],
    numeric: ["start_time", "end_time", "created", "Created"],
    lists: ["run_id"],
    nullable: [["tag", "parameter"], "tags and params"],
    isQuoting: true,
  },
  experiment: {
    kinds: tagKinds,
    unknownKind: unknownTagKind,
    attributes: ["name", "creation_time", "last_update_time"],
    orderable: ["name", "experiment_id", "creation_time", "last_update_time"],
    numeric: ["creation_time", "last_update_time"],
    lists: [],
    nullable: forTags,
    isQuoting: false,
  },
  "registered model": {
    kinds: tagKinds,
    unknownKind: unknownTagKind,
    attributes: ["name"],
    orderable: ["name", "timestamp", "last_updated_timestamp"],
    numeric: [],
    lists: [],
    nullable: [[], "tags of runs and experiments"],
    isQuoting: false,
  },
  "model version": {
    kinds: tagKinds,
    unknownKind: unknownTagKind,
    attributes: ["name", "source_path", "version_number", "run_id"],
    orderable: ["name", "creation_timestamp", "version_number", "last_updated_timestamp"],
    numeric: ["version_number"],
    lists: ["run_id"],
    nullable: [[], "tags of runs and experiments"],
    isQuoting: false,
  },
  "logged model": {
    kinds: runKinds,
    unknownKind: unknownRunKind,
    attributes: [
      "name",
      "model_id",
      "model_type",
      "status",
      "source_run_id",
      "creation_timestamp",
      "creation_time",
      "last_updated_timestamp",
      "last_updated_time",
    ],
    orderable: [
      "name",
      "model_id",
      "model_type",
      "status",
      "source_run_id",
      "creation_timestamp",
      "creation_time",
      "last_updated_timestamp",
      "last_updated_time",
    ],
    numeric: ["creation_timestamp", "creation_time", "last_updated_timestamp", "last_updated_time"],
    nullable: [["tag", "parameter"], "tags and params"],
    isQuoting: true,
  },
  trace: {
    kinds: {
      ...tagKinds,
      attributes: "attribute",
      trace: "attribute",
      metadata: "request_metadata",
      request_metadata: "request_metadata",
      span: "span",
      feedback: "feedback",
      expectation: "expectation",
      issue: "issue",
    },
    unknownKind:
      "Valid values are ['tag', 'request_metadata', 'attribute', 'span', 'feedback', 'expectation', 'issue']",
    attributes: [
      "request_id",
      "timestamp",
      "timestamp_ms",
      "execution_time",
      "execution_time_ms",
      "end_time",
      "end_time_ms",
      "status",
      "client_request_id",
      "name",
      "run_id",
      "prompt",
      "text",
    ],
    orderable: [
      "experiment_id",
      "timestamp",
      "timestamp_ms",
      "execution_time",
      "execution_time_ms",
      "end_time",
      "end_time_ms",
      "status",
      "request_id",
      "name",
      "run_id",
    ],
    numeric: [
      "timestamp",
      "timestamp_ms",
      "execution_time",
      "execution_time_ms",
      "end_time",
      "end_time_ms",
    ],
    lists: ["name", "status", "request_id", "run_id", "client_request_id"],
    nullable: [
      ["tag", "request_metadata", "feedback", "expectation"],
      "tags, metadata and assessments",
    ],
    isQuoting: true,
  },
};

/** What MLflow's words for traces stand for. */
const traceFields: Record<string, MlflowField> = {
  name: { kind: "tag", key: "mlflow.traceName" },
  prompt: { kind: "tag", key: "mlflow.linkedPrompts" },
  run_id: { kind: "request_metadata", key: "mlflow.sourceRun" },
  text: { kind: "span", key: "content" },
  timestamp: { kind: "attribute", key: "timestamp_ms" },
  execution_time: { kind: "attribute", key: "execution_time_ms" },
  end_time: { kind: "attribute", key: "end_time_ms" },
};

/** No filter is longer; MLflow itself refuses more than 10,000 words. */
const maxLength = 100_000;

/**
 * Returns the filter that a text describes to MLflow 3.11: AND-ed comparisons, by MLflow's own names. What MLflow refuses
 * is refused in MLflow's words, which its users' scripts look for.
 */
export function parseMlflowWhere(entity: MlflowEntity, text: string): Filter<MlflowField> {
  if (text.length > maxLength) throw refused(`Error on parsing filter '${text.slice(0, 80)}…'`);
  const rules = rulesOf[entity];
  const units = cut(text);
  const end = units.findIndex(({ text }) => text === ";");
  if (end >= 0 && end < units.length - 1)
    throw refused(
      `Search filter contained multiple expression ${pythonRepr(text)}. Provide AND-ed expression list.`,
    );
  const { clauses, others } = clausesOf(units);
  if (others.length) {
    const list = others.map((unit) => (rules.isQuoting ? `'${unit.text}'` : unit.text)).join(", ");
    throw refused(`Invalid clause(s) in filter string: ${list}`);
  }
  const filters = clauses.map((clause) => comparisonOf(clause, rules, entity));
  filters.forEach((comparison) => checkOperator(comparison, rules, entity));
  return { type: "and", filters };
}

/** A text as Python shows it. */
const pythonRepr = (text: string): string =>
  text.includes("'") && !text.includes('"') ? `"${text}"` : `'${text.replaceAll("'", "\\'")}'`;

/** Sorts units into comparisons and what is in none of them; AND is left out. */
function clausesOf(units: Unit[]): { clauses: Unit[][]; others: Unit[] } {
  const clauses: Unit[][] = [];
  const others: Unit[] = [];
  const isWord = (at: number, word: RegExp) =>
    units[at]?.kind === "keyword" && word.test(units[at].text);
  for (let i = 0; i < units.length; i++) {
    const [unit, second, third] = [units[i]!, units[i + 1], units[i + 2]];
    const isName = unit.kind === "identifier";
    let length = 0;
    if (
      isOperand(unit) &&
      second?.kind === "operator" &&
      (isOperand(third) || isWord(i + 2, /^null$/i))
    )
      length = units[i + 3]?.text.startsWith("/*") ? 4 : 3;
    else if (isName && isWord(i + 1, /^in$/i) && third?.kind === "list") length = 3;
    else if (isName && isWord(i + 1, /^is$/i) && isWord(i + 2, /^(?:not\s+)?null$/i)) length = 3;
    else if (
      isName &&
      isWord(i + 1, /^not$/i) &&
      isWord(i + 2, /^in$/i) &&
      units[i + 3]?.kind === "list"
    )
      length = 4;
    if (length) clauses.push(units.slice(i, i + length));
    else if (!isWord(i, /^and$/i)) others.push(unit);
    i += Math.max(length - 1, 0);
  }
  return { clauses, others };
}

function comparisonOf(clause: Unit[], rules: Rules, entity: MlflowEntity): Comparison<MlflowField> {
  const [left, second, third] = clause as [Unit, Unit, Unit];
  const isNotIn = second.kind === "keyword" && /^not$/i.test(second.text);
  if (clause.length === 4 && !isNotIn)
    throw refused("Invalid comparison clause. Expected 3 tokens found 4");
  if (left.kind !== "identifier")
    throw refused(`Invalid comparison clause. Expected 'Identifier' found '${left.text}'`);
  const field = fieldOf(left.text, rules, rules.attributes);
  const span = { at: left.at, to: clause.at(-1)!.to };
  const word = second.text.toUpperCase().replace(/\s+/, " ");
  if (word === "IS") {
    const [kinds, said] = rules.nullable;
    const isNullable = kinds.includes(named(field, entity).kind);
    const of = entity === "experiment" ? field.kind : `'${field.kind}'`;
    if (!isNullable)
      throw refused(
        `IS NULL / IS NOT NULL is only supported for ${said}, not for ${of} '${field.key}'`,
      );
    const operator = /^not/i.test(third.text) ? "IS NOT NULL" : "IS NULL";
    return { type: "compare", field: named(field, entity), operator, values: [], ...span };
  }
  const operator = (isNotIn ? "NOT IN" : (synonyms[word] ?? word)) as Operator;
  const right = clause.at(-1)!;
  const values = valuesOf(field, right, rules);
  if (right.kind === "list" && !operator.endsWith("IN"))
    throw refused(`Expected a quoted string value for attributes. Got value ${right.text}`);
  return { type: "compare", field: named(field, entity), operator, values, ...span };
}

const synonyms: Record<string, Operator> = { RLIKE: "~", "NOT RLIKE": "!~" };

const named = (field: MlflowField, entity: MlflowEntity): MlflowField =>
  entity === "trace" && field.kind === "attribute" ? (own(traceFields, field.key) ?? field) : field;

function fieldOf(text: string, rules: Rules, attributes: string[]): MlflowField {
  const dot = text.indexOf(".");
  const prefix = dot < 0 ? "attribute" : unticked(text.slice(0, dot).trim());
  const kind = own(rules.kinds, prefix);
  if (!kind) throw refused(`Invalid entity type '${prefix}'. ${rules.unknownKind}`);
  const key = unticked(unquoted(text.slice(dot + 1).trim()) ?? text.slice(dot + 1).trim());
  if (kind === "attribute" && !attributes.includes(key))
    throw refused(
      `Invalid attribute key '${key}' specified. Valid keys are '${setOf(attributes)}'`,
    );
  if (kind === "dataset" && !datasetKeys.includes(key))
    throw refused(`Invalid dataset key '${key}' specified. Valid keys are '${setOf(datasetKeys)}'`);
  return { kind, key };
}

const datasetKeys = ["name", "context", "digest"];
const setOf = (keys: string[]) => `{${keys.map((key) => `'${key}'`).join(", ")}}`;
const unticked = (text: string) =>
  /^`[^]*`$/.test(text) && text.length > 1 ? text.slice(1, -1) : text;
const unquoted = (text: string) =>
  text.length > 1 && /^(?:'[^]*'|"[^]*")$/.test(text) ? text.slice(1, -1) : undefined;

function valuesOf({ kind, key }: MlflowField, unit: Unit, rules: Rules): Value[] {
  const isNumber = unit.kind === "integer" || unit.kind === "float";
  const isNumeric = rules.numeric.includes(key);
  const isAttribute = kind === "attribute";
  if (kind === "metric" && !isNumber)
    throw refused(`Expected numeric value type for metric. Found ${unit.text}`);
  if (isAttribute && isNumeric && rules.kinds === runKinds && !isNumber)
    throw refused(`Expected numeric value type for numeric attribute: ${key}. Found ${unit.text}`);
  if (
    isNumber &&
    (kind === "metric" || (isAttribute && isNumeric) || /^(?:feedback|expectation)$/.test(kind))
  )
    return [Number(unit.text)];
  if (unit.kind === "list" && (isAttribute || kind === "dataset" || kind === "span")) {
    if (isAttribute && rules.lists && !rules.lists.includes(key))
      throw refused(
        "Only the 'run_id' attribute supports comparison with a list of quoted string values.",
      );
    const values = listOf(unit.text);
    return key === "run_id" ? values.filter((id) => id === id.toLowerCase()) : values;
  }
  if (unit.kind === "string" || unit.kind === "identifier") {
    const value = unquoted(unit.text);
    if (value !== undefined) return [value];
    throw refused(
      `Parameter value is either not quoted or unidentified quote types used for string value ${unit.text}. Use either single or double quotes.`,
    );
  }
  throw refused(
    isAttribute
      ? `Expected a quoted string value for attributes. Got value ${unit.text}`
      : kind === "dataset"
        ? `Expected a quoted string value for dataset attributes. Got value ${unit.text}`
        : `Expected a quoted string value for ${kind} (e.g. 'my-value'). Got value ${unit.text}`,
  );
}

function listOf(text: string): string[] {
  const inner = text.slice(1, -1).trim();
  const parse = "While parsing a list in the query, expected";
  if (inner === "") throw refused(`${parse} a non-empty list of string values, but got empty list`);
  const items = inner.match(/'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[^,'"]+|,|['"]/gs) ?? [];
  const values = items.map((item) => item.trim()).filter((item) => item !== "" && item !== ",");
  if (values.some((item) => unquoted(item) === undefined && !/^-?[\d.]+$/.test(item)))
    throw refused(`${parse} a non-empty list of string values, but got ill-formed list.`);
  if (!values.every((item) => unquoted(item) !== undefined))
    throw refused(
      `${parse} string value, punctuation, or whitespace, but got different type in list: (${values.join(", ")}${values.length === 1 ? "," : ""})`,
    );
  return values.map((item) => unquoted(item)!);
}

const numericOperators = ["<", ">", "!=", "=", ">=", "<="];
const textOperators = ["IS NULL", "IS NOT NULL", "ILIKE", "=", "LIKE", "!="];
const listOperators = ["NOT IN", "ILIKE", "IN", "=", "LIKE", "!="];

function checkOperator(
  { field: { kind, key }, operator }: Comparison<MlflowField>,
  rules: Rules,
  entity: MlflowEntity,
): void {
  const isNumeric = kind === "metric" || (kind === "attribute" && rules.numeric.includes(key));
  const allowed =
    kind === "feedback" || kind === "expectation"
      ? [...numericOperators, ...textOperators]
      : isNumeric
        ? numericOperators
        : kind === "parameter" || kind === "tag" || kind === "request_metadata"
          ? textOperators
          : listOperators;
  const isMatch =
    entity === "trace" && (operator === "~" || operator === "IN" || operator === "NOT IN");
  if (allowed.includes(operator) || isMatch) return;
  const said = operator === "~" ? "RLIKE" : operator;
  throw refused(`Invalid comparator '${said}' not one of '${setOf(allowed)}'`);
}

/** Returns the order that one text of MLflow's order_by describes. */
export function parseMlflowOrder(
  entity: MlflowEntity,
  text: string,
): { field: MlflowField; descending: boolean } {
  const rules = rulesOf[entity];
  const units = text.length > maxLength ? [] : cut(text);
  const [name, word] = units;
  if (
    name?.kind !== "identifier" ||
    units.length > 2 ||
    (word && !/identifier|keyword/.test(word.kind))
  )
    throw refused(`Invalid order_by clause '${text}'. Could not be parsed.`);
  const direction = word?.text.toLowerCase() ?? "asc";
  if (direction !== "asc" && direction !== "desc")
    throw refused(`Invalid ordering key in order_by clause '${text}'.`);
  if (entity === "registered model" && !rules.orderable.includes(name.text))
    throw refused(
      `Invalid order by key '${name.text}' specified. Valid keys are '{'name', 'timestamp'}'`,
    );
  const field = named(fieldOf(name.text, rules, rules.orderable), entity);
  return { field, descending: direction === "desc" };
}

/** Returns MLflow's field of a run as ours: by the raw text of params, and without statistics of metrics. */
export function fieldFromMlflow({ kind, key }: MlflowField): Field {
  if (kind === "metric") return { kind: "metrics", key, strict: true };
  if (kind === "parameter") return { kind: "params", key, strict: true };
  if (kind === "tag") return { kind: "tags", key };
  if (kind === "dataset") return { kind: "datasets", key };
  const field = kind === "attribute" ? plainField(key) : undefined;
  if (!field) throw new ApiError("NOT_IMPLEMENTED", `runs are not searched by ${kind}.${key}`);
  return field;
}

/** Returns MLflow's filter on runs as ours. */
export function filterFromMlflow(filter: Filter<MlflowField>): Filter {
  if (filter.type === "compare") return { ...filter, field: fieldFromMlflow(filter.field) };
  if (filter.type === "contains") return filter;
  if (filter.type === "not") return { type: "not", filter: filterFromMlflow(filter.filter) };
  return { type: filter.type, filters: filter.filters.map(filterFromMlflow) };
}

const own = <T>(record: Record<string, T>, key: string): T | undefined =>
  Object.hasOwn(record, key) ? record[key] : undefined;

const refused = (message: string) => new ApiError("INVALID_PARAMETER_VALUE", message);
