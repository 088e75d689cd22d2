import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { maybeNumber } from "../../wire/json.ts";
import type { LoggedRun, Values } from "../run.ts";
import { assignment, UsageError } from "./arguments.ts";
import { connection, connectTo } from "./connection.ts";

export const summary = "Log a run from JSON lines on stdin";

export const help = `assay log --experiment NAME [--name RUN] [--param k=v]… [--tag k=v]… [--note TEXT]
          [--json] [--url URL] [--token TOKEN]

Reads a line at a time: a flat object of numbers, with optional step and time (ms since 1970 or
ISO 8601). "NaN", "Infinity" and "-Infinity" are numbers; nested objects flatten with "/". A line
that is not JSON goes to the run's console. Prints the run's id at the start. The run ends as
finished at the end of input, as killed by Ctrl-C.

Examples
  python train.py | assay log --experiment digits --param lr=0.1
  echo '{"loss": 0.4, "val": {"acc": 0.91}, "step": 12}' | assay log --experiment digits`;

export async function run(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      ...connection,
      experiment: { type: "string" },
      name: { type: "string" },
      param: { type: "string", multiple: true, default: [] },
      tag: { type: "string", multiple: true, default: [] },
      note: { type: "string" },
      json: { type: "boolean", default: false },
    },
  });
  if (!values.experiment) throw new UsageError("missing --experiment");
  const lab = await connectTo(values);
  const logged = await lab.startRun({
    experiment: values.experiment,
    params: pairs("param", values.param, typedValue),
    tags: pairs("tag", values.tag, String),
    ...(values.name ? { name: values.name } : {}),
    ...(values.note ? { note: values.note } : {}),
    source: "assay log",
  });
  console.log(values.json ? JSON.stringify({ id: logged.id, url: logged.url }) : logged.id);
  for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity }))
    logLine(logged, line);
  const { delivered } = await logged.finish("finished", { timeout: 30_000 });
  return delivered ? 0 : 1;
}

/** Logs one line: values if it is a JSON object, console text if not. */
export function logLine(run: Pick<LoggedRun, "log" | "print">, line: string): void {
  if (line.trim() === "") return;
  const values = parseLine(line);
  if (!values) return run.print(line);
  const { step, time, ...rest } = values;
  const at =
    typeof time === "string" && maybeNumber(time) === undefined
      ? Date.parse(time)
      : maybeNumber(time);
  run.log(rest, {
    ...(step === undefined || step === null ? {} : { step: Number(step) }),
    ...(at === undefined || Number.isNaN(at) ? {} : { time: at }),
  });
}

// Python's json writes NaN and Infinity bare, which JSON.parse refuses; inside strings they are text.
const bareOrString = /"[^"\\]*(?:\\.[^"\\]*)*"|-?(?:Infinity|NaN)/g;

function parseLine(line: string): Values | undefined {
  const text = line.trim();
  if (!text.startsWith("{")) return undefined;
  const quoted = () =>
    text.replace(bareOrString, (token) => (token.startsWith('"') ? token : `"${token}"`));
  return (maybeJSON(text) ?? maybeJSON(quoted())) as Values | undefined;
}

function maybeJSON(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function pairs<T>(
  option: string,
  texts: string[],
  convert: (text: string) => T,
): Record<string, T> {
  return Object.fromEntries(
    texts.map((text) => {
      const [name, value] = assignment(option, text);
      return [name, convert(value)];
    }),
  );
}

/** A param on the command line is the JSON it looks like, else text; so is an integer that would lose digits. */
function typedValue(text: string): unknown {
  if (/^-?\d+$/.test(text) && !Number.isSafeInteger(Number(text))) return text;
  const value = maybeNumber(text) ?? maybeJSON(text);
  return value === undefined ? text : value;
}
