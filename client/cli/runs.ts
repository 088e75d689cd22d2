import { parseArgs } from "node:util";
import { wholeNumber } from "./arguments.ts";
import { connection, connectTo } from "./connection.ts";
import { printJSON, printTable, rowsOf } from "./table.ts";

export const summary = "List runs";

export const help = `assay runs [EXPERIMENT…] [--where FILTER] [--order FIELDS] [--columns NAMES] [--limit 50] [--json]
           [--url URL] [--token TOKEN]

Examples
  assay runs digits --order "metrics.val/acc.max desc" --limit 5
  assay runs digits --where "params.lr < 0.5 and state = 'finished'" --columns name,params.lr,metrics.val/acc
  assay runs --json`;

export async function run(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      ...connection,
      where: { type: "string" },
      order: { type: "string" },
      columns: { type: "string" },
      limit: { type: "string", default: "50" },
      json: { type: "boolean", default: false },
    },
  });
  const lab = await connectTo(values);
  const table = await lab.runs(positionals.length ? positionals : undefined, {
    limit: wholeNumber("limit", values.limit),
    ...(values.where === undefined ? {} : { where: values.where }),
    ...(values.order === undefined ? {} : { order: values.order }),
    columns: values.columns?.split(",") ?? ["*"],
  });
  const rows = rowsOf(table);
  const names = table.schema.fields.map(({ name }) => name);
  if (values.json) printJSON(rows);
  else
    printTable(
      rows,
      values.columns
        ? names
        : names.filter((name) => shown.includes(name) || /^(params|metrics)\./.test(name)),
    );
  return 0;
}

const shown = ["id", "name", "experiment", "state", "points"];
