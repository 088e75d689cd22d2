import { columnFromValues } from "../../wire/columns.ts";
import { formatField, type Field } from "../../wire/field.ts";
import { fieldsOf, type Filter } from "../../wire/filter.ts";
import type { OrderTerm } from "../../wire/order.ts";
import { rowsWhere } from "../../wire/predicate.ts";
import { workspace } from "../env.ts";
import { boundTo } from "./bound.ts";
import { orderBySQL } from "./order.ts";
import { sourceOf, valueFromJSON } from "./run-fields.ts";
import { whereSQL } from "./where.ts";
import { selectRunsByNo, type FoundRun } from "./runs.ts";

/** Which runs to look for, and where the answer before this one ended. */
export interface RunSearch {
  /** ids of experiments */
  experiments: string[];
  filter: Filter;
  /** by which fields, then by when they started, the latest first, then by id */
  order: OrderTerm[];
  view: "active" | "deleted" | "all";
  limit: number;
  after?: RunPlace | undefined;
  /** what comes before an experiment's id in the URI of its files, where it has no other */
  artifactRoot: string;
}

/** Where an answer ended: its last run's row number, and how many runs stood up to it when it was given. */
export type RunPlace = [no: number, place: number];

/** A candidate: a run that the filter may hold of, by its place in the order. */
interface Candidate {
  no: number;
  place: number;
  /** the values of the filter's fields, as JSON */
  [field: `f${number}`]: string | null;
}

/** So many candidates are looked at at a time, where SQL alone cannot say the filter. */
const maxCandidates = 2000;

/**
 * Returns the runs that a filter holds of, in order, `limit` of them or fewer where they are large, and where the next
 * answer goes on; undefined where none is left. What changes between two answers may be missed, or told twice.
 */
export async function searchRuns(
  db: D1Database,
  search: RunSearch,
): Promise<{ runs: FoundRun[]; next: RunPlace | undefined }> {
  const bound = boundTo("?1");
  const options = { artifactURI: artifactURI(bound.value(search.artifactRoot)) };
  const where = whereSQL(search.filter, bound, options);
  const fields = where.isExact ? [] : fieldsOf(search.filter).fields;
  const order = search.order.length ? `${orderBySQL(search.order, bound, options)}, ` : "";
  const sql = {
    where: where.sql,
    order: `${order}runs.started DESC, runs.id`,
    columns: fields
      .map((field, i) => `, ${sourceOf(field, bound, options).json} AS f${i}`)
      .join(""),
    bound: bound.text(),
  };
  const found: Candidate[] = [];
  let after = search.after;
  for (;;) {
    const count = where.isExact ? search.limit + 1 : maxCandidates;
    const candidates = await selectCandidates(db, search, sql, after, count);
    const holds = where.isExact ? undefined : holdsOf(search.filter, fields, candidates);
    found.push(...(holds ? Array.from(holds, (i) => candidates[i]!) : candidates));
    if (candidates.length < count || found.length > search.limit) break;
    const last = candidates.at(-1)!;
    after = [last.no, last.place];
  }
  const page = found.slice(0, search.limit);
  const runs = await selectRunsByNo(
    db,
    page.map(({ no }) => no),
  );
  const given = page.findLastIndex(({ no }) => no === runs.at(-1)?.no);
  const last = page[given];
  return { runs, next: last && given + 1 < found.length ? [last.no, last.place] : undefined };
}

/** SQL for where MLflow's clients find a run's files. */
const artifactURI = (root: string): string =>
  `(coalesce(rtrim((SELECT artifacts FROM experiments AS e WHERE e.id = runs.experiment), '/'), ${root} || runs.experiment) || '/' || runs.id || '/artifacts')`;

async function selectCandidates(
  db: D1Database,
  { experiments, view }: RunSearch,
  sql: { where: string; order: string; columns: string; bound: string },
  after: RunPlace | undefined,
  count: number,
): Promise<Candidate[]> {
  const lifecycle = { active: "deleted IS NULL", deleted: "deleted IS NOT NULL", all: "true" }[
    view
  ];
  const matching = `FROM runs WHERE workspace = ?2 AND experiment IN (SELECT value FROM json_each(?3)) AND ${lifecycle}
    AND ${sql.where}`;
  const bound = [sql.bound, workspace, JSON.stringify(experiments)];
  const { results } = after
    ? await db
        .prepare(
          `WITH matching AS (SELECT no, row_number() OVER (ORDER BY ${sql.order}) AS place${sql.columns} ${matching})
           SELECT * FROM matching WHERE place > coalesce((SELECT place FROM matching WHERE no = ?4), ?5) ORDER BY place LIMIT ?6`,
        )
        .bind(...bound, ...after, count)
        .all<Candidate>()
    : await db
        .prepare(`SELECT no${sql.columns} ${matching} ORDER BY ${sql.order} LIMIT ?4`)
        .bind(...bound, count)
        .all<Candidate>();
  return after ? results : results.map((row, i) => ({ ...row, place: i + 1 }));
}

/** Returns which candidates a filter holds of, by the values of its fields that came with them. */
function holdsOf(filter: Filter, fields: Field[], candidates: Candidate[]): Uint32Array {
  const columns = new Map(
    fields.map((field, i) => [
      formatField(field),
      columnFromValues(candidates.map((row) => valueFromJSON(field, row[`f${i}`] ?? null))),
    ]),
  );
  return rowsWhere(filter, {
    rows: candidates.length,
    column: (field) => columns.get(formatField(field)),
    tags: () => [],
  });
}
