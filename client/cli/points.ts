import { createWriteStream } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { ReadableStream } from "node:stream/web";
import { parseArgs } from "node:util";
import { UsageError } from "./arguments.ts";
import { connection, connectTo } from "./connection.ts";
import { printJSON, printTable, rowsOf } from "./table.ts";

export const summary = "Print points of runs, or write them to a file";

export const help = `assay points [--experiment NAME]… [--run ID]… [--key KEY]… [--prefix PREFIX]… [--regex RE2]
             [--from STEP] [--to STEP] [--time-from TIME] [--time-to TIME] [--buckets N] [--layout wide]
             [--json | --out FILE] [--url URL] [--token TOKEN]

FILE ends in .parquet, .csv, .json or .arrow (an Arrow stream). TIME is ISO 8601, or ms since 1970.

Examples
  assay points --experiment digits --key val/acc
  assay points --experiment digits --out digits.parquet
  assay points --run 01a20899c1247cfa8cc5ad5373e41a88 --from 100 --to 200 --json`;

const layouts = ["long", "wide"] as const;
const formats = ["parquet", "csv", "json", "arrow"] as const;

export async function run(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      ...connection,
      experiment: { type: "string", multiple: true },
      run: { type: "string", multiple: true },
      key: { type: "string", multiple: true },
      prefix: { type: "string", multiple: true },
      regex: { type: "string" },
      from: { type: "string" },
      to: { type: "string" },
      "time-from": { type: "string" },
      "time-to": { type: "string" },
      buckets: { type: "string" },
      layout: { type: "string" },
      out: { type: "string" },
      json: { type: "boolean", default: false },
    },
  });
  if (!values.experiment && !values.run) throw new UsageError("missing --experiment or --run");
  const { experiment, run, key, prefix, regex, out } = values;
  const layout = layouts.find((name) => name === values.layout);
  if (layout !== values.layout)
    throw new UsageError(`invalid --layout: ${values.layout} (expected ${layouts.join(" or ")})`);
  const selection = given({
    experiment,
    run,
    key,
    prefix,
    regex,
    layout,
    from: number("from", values.from),
    to: number("to", values.to),
    timeFrom: values["time-from"],
    timeTo: values["time-to"],
    buckets: number("buckets", values.buckets),
  });
  const format = formats.find((name) => out?.endsWith(`.${name}`));
  if (out !== undefined && !format)
    throw new UsageError(
      `invalid --out: ${out} (expected a name ending in ${formats.map((name) => `.${name}`).join(", ")})`,
    );
  const lab = await connectTo(values);
  if (format) {
    const { body } = await lab.pointsFile(selection, format);
    await pipeline(Readable.fromWeb(body as ReadableStream), createWriteStream(out!));
    return 0;
  }
  const rows = rowsOf(await lab.points(selection));
  if (values.json) printJSON(rows);
  else
    printTable(
      rows.map((row) => ({ ...row, time: new Date(row["time"] as number).toISOString() })),
      ["run", "key", "step", "time", "value"],
    );
  return 0;
}

/** Leaves out what is undefined. */
function given<T extends object>(options: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}

function number(name: string, text: string | undefined): number | undefined {
  const number = Number(text);
  if (text !== undefined && (text.trim() === "" || !Number.isFinite(number)))
    throw new UsageError(`invalid --${name}: ${text} (expected a number)`);
  return text === undefined ? undefined : number;
}
