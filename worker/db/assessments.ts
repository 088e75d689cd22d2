import type { Assessment } from "../../wire/trace.ts";
import { workspace } from "../env.ts";
import { digestOf, logChange } from "./events.ts";

interface Row {
  trace: string;
  id: string;
  valid: number;
  overrides: string | null;
  body: string;
}

const columns = "trace, id, valid, overrides, body";

const toAssessment = ({ trace, id, valid, overrides, body }: Row): Assessment => ({
  id,
  trace,
  ...(JSON.parse(body) as Omit<Assessment, "id" | "trace" | "valid" | "overrides">),
  overrides,
  valid: valid === 1,
});

/** What of an assessment is read whole. */
const bodyOf = ({ id: _, trace: __, valid: ___, overrides: ____, ...body }: Assessment): string =>
  JSON.stringify(body);

/** So many assessments of a trace are given at most, the first. */
const maxGiven = 1_000;

/** The statement that selects what was said of traces, in the order it was said. */
export const assessmentsOf = (db: D1Database, traces: string[]): D1PreparedStatement =>
  db
    .prepare(
      `SELECT ${columns} FROM (SELECT *, row_number() OVER (PARTITION BY trace ORDER BY no) AS place
         FROM assessments WHERE trace IN (SELECT value FROM json_each(?))) WHERE place <= ? ORDER BY no`,
    )
    .bind(JSON.stringify(traces), maxGiven);

/** Returns what assessmentsOf selected, by trace. */
export const assessmentsFrom = ({ results }: D1Result): Map<string, Assessment[]> =>
  Map.groupBy((results as Row[]).map(toAssessment), ({ trace }) => trace);

/** Returns an assessment of a trace, or null. */
export async function findAssessment(
  db: D1Database,
  trace: string,
  id: string,
): Promise<Assessment | null> {
  const row = await db
    .prepare(`SELECT ${columns} FROM assessments WHERE workspace = ? AND trace = ? AND id = ?`)
    .bind(workspace, trace, id)
    .first<Row>();
  return row && toAssessment(row);
}

/** The statements that keep an assessment; one that it takes the place of is valid no more. */
export async function insertAssessment(
  db: D1Database,
  assessment: Assessment,
  who: string,
): Promise<D1PreparedStatement[]> {
  const { id, trace, valid, overrides } = assessment;
  return [
    db
      .prepare("UPDATE assessments SET valid = 0 WHERE workspace = ? AND trace = ? AND id = ?")
      .bind(workspace, trace, overrides),
    db
      .prepare(
        `INSERT INTO assessments (workspace, trace, id, valid, overrides, body)
         SELECT workspace, id, ?3, ?4, ?5, ?6 FROM traces WHERE workspace = ?1 AND id = ?2 ON CONFLICT DO NOTHING`,
      )
      .bind(workspace, trace, id, valid ? 1 : 0, overrides, bodyOf(assessment)),
    logChange(db, {
      who,
      what: "assessment.create",
      subject: `${trace}/${id}`,
      digest: await digestOf(bodyOf(assessment)),
    }),
  ];
}

/** Keeps an assessment and returns it as it is kept; null where there is no such trace. */
export async function createAssessment(
  db: D1Database,
  assessment: Assessment,
  who: string,
): Promise<Assessment | null> {
  const results = await db.batch<Row>([
    ...(await insertAssessment(db, assessment, who)),
    db
      .prepare(`SELECT ${columns} FROM assessments WHERE workspace = ? AND trace = ? AND id = ?`)
      .bind(workspace, assessment.trace, assessment.id),
  ]);
  const row = results.at(-1)!.results[0];
  return row ? toAssessment(row) : null;
}

/** Puts an assessment in the place of what stands under its id. */
export async function updateAssessment(
  db: D1Database,
  assessment: Assessment,
  who: string,
): Promise<void> {
  const { id, trace, valid } = assessment;
  const body = bodyOf(assessment);
  await db.batch([
    db
      .prepare(
        "UPDATE assessments SET valid = ?, body = ? WHERE workspace = ? AND trace = ? AND id = ?",
      )
      .bind(valid ? 1 : 0, body, workspace, trace, id),
    logChange(db, {
      who,
      what: "assessment.patch",
      subject: `${trace}/${id}`,
      digest: await digestOf(body),
    }),
  ]);
}

/** Takes an assessment back; the one it stood in for is valid again. */
export async function deleteAssessment(
  db: D1Database,
  { id, trace, overrides }: Assessment,
  who: string,
): Promise<void> {
  await db.batch([
    db
      .prepare("UPDATE assessments SET valid = 1 WHERE workspace = ? AND trace = ? AND id = ?")
      .bind(workspace, trace, overrides),
    db
      .prepare("DELETE FROM assessments WHERE workspace = ? AND trace = ? AND id = ?")
      .bind(workspace, trace, id),
    logChange(db, {
      who,
      what: "assessment.delete",
      subject: `${trace}/${id}`,
      digest: await digestOf("assessment.delete"),
    }),
  ]);
}
