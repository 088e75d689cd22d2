import { ApiError } from "../../wire/error.ts";
import type { Value } from "../../wire/filter.ts";
import type { FoundModel, FoundVersion } from "../db/models.ts";
import { modelOrder, versionOrder } from "../db/models.ts";
import type { Order } from "../db/page.ts";
import { clausesOf, maybe, ordersOf, ownValue, testAll, withTies, type Clause } from "./where.ts";

/** What a search of the registry asks for. */
interface Question<T> {
  test: ((item: T) => boolean) | undefined;
  order: Order[];
  /** tells it from other questions */
  key: unknown;
}

/** The tag that makes a registered model a prompt. */
export const promptTag = "mlflow.prompt.is_prompt";

const isPrompt = ({ tags }: { tags: Record<string, string> }): boolean =>
  tags[promptTag] === "true";

/** A search finds prompts where it asks for them, else models: those do not have the tag that it would have to ask for. */
function withoutPrompts<T extends { tags: Record<string, string> }>(
  clauses: Clause[],
  valuesOf: (item: T, clause: Clause) => Value[],
): (item: T) => boolean {
  const isOfPrompts = ({ field }: Clause) => field.kind === "tag" && field.key === promptTag;
  const asked = clauses.find(isOfPrompts);
  const value = String(asked?.values[0]).toLowerCase();
  const wantsPrompts =
    asked !== undefined &&
    ((asked.operator === "=" && value === "true") ||
      (asked.operator === "!=" && value === "false"));
  if (wantsPrompts) return testAll(clauses, valuesOf);
  const test = testAll(
    clauses.filter((clause) => !isOfPrompts(clause)),
    valuesOf,
  );
  return (item) => !isPrompt(item) && test(item);
}

/** Reads a search of registered models. */
export function modelsQuestion(
  filter: string | undefined,
  orderBy: string[],
): Question<FoundModel> {
  const orders = ordersOf("registered model", orderBy, ({ kind, key }) => {
    if (kind !== "attribute") return undefined;
    return { by: key === "name" ? modelOrder.name : modelOrder.updated };
  });
  const valuesOf = ({ name, tags }: FoundModel, { field }: Clause) =>
    field.kind === "tag" ? ownValue(tags, field.key) : [name];
  return {
    test: withoutPrompts(clausesOf("registered model", filter), valuesOf),
    order: withTies(
      orders.map(({ order }) => order),
      [{ by: modelOrder.name }],
    ),
    key: ["models", filter ?? "", orderBy],
  };
}

/** Reads a search of versions; `names` are the models it is about, where it says so. */
export function versionsQuestion(
  filter: string | undefined,
  orderBy: string[],
): Question<FoundVersion> & { names: string[] | undefined } {
  const clauses = clausesOf("model version", filter);
  for (const { field, values } of clauses)
    if (field.kind === "attribute" && field.key === "version_number" && !isWhole(values[0]))
      throw new ApiError(
        "INVALID_PARAMETER_VALUE",
        `Invalid value for numeric attribute 'version_number': ${values[0]}`,
      );
  const named = clauses.find(
    ({ field, operator }) => field.kind === "attribute" && field.key === "name" && operator === "=",
  );
  const by: Record<string, string> = {
    name: versionOrder.name,
    version_number: versionOrder.number,
    creation_timestamp: versionOrder.created,
    last_updated_timestamp: versionOrder.updated,
  };
  const orders = ordersOf(
    "model version",
    orderBy.length ? orderBy : ["last_updated_timestamp DESC"],
    ({ kind, key }) => {
      const expression = kind === "attribute" ? by[key] : undefined;
      return expression === undefined ? undefined : { by: expression };
    },
  );
  return {
    test: withoutPrompts(clauses, versionValues),
    order: withTies(
      orders.map(({ order }) => order),
      [{ by: versionOrder.name }, { by: versionOrder.number, descending: true }],
    ),
    key: ["versions", filter ?? "", orderBy],
    names: named && [String(named.values[0])],
  };
}

const isWhole = (value: Value | undefined): boolean => /^[+-]?\d+$/.test(String(value));

function versionValues(version: FoundVersion, { field: { kind, key } }: Clause): Value[] {
  if (kind === "tag") return ownValue(version.tags, key);
  if (key === "name") return [version.model];
  if (key === "version_number") return [version.number];
  if (key === "source_path") return [version.source];
  return maybe(version.run ?? "");
}
