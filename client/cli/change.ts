import { parseArgs } from "node:util";
import type { RunsChange, RunsRef } from "../index.ts";
import { assignment, UsageError } from "./arguments.ts";
import { connection, connectTo } from "./connection.ts";

export const summary = "Tag, group, archive, move or delete many runs";

export const help = `assay change [RUN…] [--experiment NAME]… [--where FILTER] WHAT [--json] [--url URL] [--token TOKEN]

Changes the runs of the ids, or those that an experiment and a filter name, up to 10,000 at once. WHAT is one of
  --tag NAME=VALUE… --untag NAME…   set tags, take tags away
  --group NAME, --ungroup           the group that tables and charts show them in: the tag of that name
  --note TEXT
  --archive, --unarchive            lists leave archived runs out
  --move EXPERIMENT                 to another experiment
  --delete, --restore

It says how to take it back, which can be done for an hour.

Examples
  assay change --experiment digits --where "params.lr > 1" --tag verdict=diverged
  assay change 01a20899c1247cfa8cc5ad5373e41a88 01a20899c1247cfa8cc5ad5373e41a89 --group "5 seeds"
  assay change --experiment digits --where "state = 'failed'" --delete`;

export async function run(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      ...connection,
      experiment: { type: "string", multiple: true },
      where: { type: "string" },
      tag: { type: "string", multiple: true },
      untag: { type: "string", multiple: true },
      group: { type: "string" },
      ungroup: { type: "boolean" },
      note: { type: "string" },
      archive: { type: "boolean" },
      unarchive: { type: "boolean" },
      move: { type: "string" },
      delete: { type: "boolean" },
      restore: { type: "boolean" },
      json: { type: "boolean", default: false },
    },
  });
  const { experiment, where } = values;
  const isFilter = experiment !== undefined || where !== undefined;
  if (positionals.length && isFilter)
    throw new UsageError("runs are named by ids, or by --experiment and --where, not by both");
  if (!positionals.length && !isFilter)
    throw new UsageError("missing runs, --experiment or --where");
  const runs: RunsRef = isFilter
    ? { ...(experiment ? { experiment } : {}), ...(where === undefined ? {} : { where }) }
    : positionals;
  const tags = [
    ...(values.tag ?? []).map((text) => assignment("tag", text)),
    ...(values.untag ?? []).map((name) => [name, null] as const),
  ];
  const changes: RunsChange[] = [
    ...(tags.length ? [{ tags: Object.fromEntries(tags) }] : []),
    ...(values.group === undefined ? [] : [{ group: values.group }]),
    ...(values.ungroup ? [{ group: null }] : []),
    ...(values.note === undefined ? [] : [{ note: values.note }]),
    ...(values.archive ? [{ archived: true }] : []),
    ...(values.unarchive ? [{ archived: false }] : []),
    ...(values.move === undefined ? [] : [{ experiment: values.move }]),
    ...(values.delete ? [{ deleted: true }] : []),
    ...(values.restore ? [{ deleted: false }] : []),
  ];
  const [change, another] = changes;
  if (!change) throw new UsageError("missing what to change");
  if (another) throw new UsageError("one change at a time");
  const lab = await connectTo(values);
  const { changed, unchanged, undo, expires } = await lab.changeRuns(runs, change);
  if (values.json) console.log(JSON.stringify({ changed, unchanged, undo, expires }));
  else {
    console.log(`${changed} changed, ${unchanged} unchanged`);
    if (changed)
      console.log(`assay undo ${undo}  takes it back, until ${new Date(expires).toISOString()}`);
  }
  return 0;
}
