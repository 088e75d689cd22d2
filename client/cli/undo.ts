import { parseArgs } from "node:util";
import { UsageError } from "./arguments.ts";
import { connection, connectTo } from "./connection.ts";

export const summary = "Take back what a change of runs did";

export const help = `assay undo CHANGE [--json] [--url URL] [--token TOKEN]

Gives runs back what they had before an assay change, of which it told the id, within an hour. What was changed again
since stays as it is.

Example
  assay undo 01a20899c1247cfa8cc5ad5373e41a88`;

export async function run(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { ...connection, json: { type: "boolean", default: false } },
  });
  const [change, another] = positionals;
  if (change === undefined) throw new UsageError("missing change");
  if (another !== undefined) throw new UsageError("one change at a time");
  const lab = await connectTo(values);
  const { restored, changedSince } = await lab.undoChange(change);
  if (values.json) console.log(JSON.stringify({ restored, changedSince }));
  else
    console.log(
      `${restored} restored${changedSince ? `, ${changedSince} left as others changed them since` : ""}`,
    );
  return 0;
}
