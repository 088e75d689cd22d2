import { parseArgs } from "node:util";
import { UsageError } from "./arguments.ts";
import { connection, connectTo } from "./connection.ts";
import { printJSON, printTable, rowsOf } from "./table.ts";

export const summary = "Print points of runs";

export const help = `assay points [--experiment NAME]… [--run ID]… [--key KEY]… [--from STEP] [--to STEP] [--json]
             [--url URL] [--token TOKEN]

Examples
  assay points --experiment digits --key val/acc
  assay points --run 01a20899c1247cfa8cc5ad5373e41a88 --from 100 --to 200 --json`;

export async function run(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      ...connection,
      experiment: { type: "string", multiple: true },
      run: { type: "string", multiple: true },
      key: { type: "string", multiple: true },
      from: { type: "string" },
      to: { type: "string" },
      json: { type: "boolean", default: false },
    },
  });
  if (!values.experiment && !values.run) throw new UsageError("missing --experiment or --run");
  const lab = await connectTo(values);
  const { experiment, run, key } = values;
  const table = await lab.points({
    ...(experiment ? { experiment } : {}),
    ...(run ? { run } : {}),
    ...(key ? { key } : {}),
    ...(values.from === undefined ? {} : { from: step("from", values.from) }),
    ...(values.to === undefined ? {} : { to: step("to", values.to) }),
  });
  const rows = rowsOf(table);
  if (values.json) printJSON(rows);
  else
    printTable(
      rows.map((row) => ({ ...row, time: new Date(row["time"] as number).toISOString() })),
      ["run", "key", "step", "time", "value"],
    );
  return 0;
}

function step(name: string, text: string): number {
  const number = Number(text);
  if (text.trim() === "" || !Number.isFinite(number))
    throw new UsageError(`invalid --${name}: ${text} (expected a step)`);
  return number;
}
