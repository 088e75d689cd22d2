/** One line of a metric's file. */
export interface MetricLine {
  time: number;
  value: number;
  step: number;
  /** what follows the step: a run in the files of a logged model, a dataset's name and digest */
  rest: string[];
}

/**
 * Returns what a line of a metric's file says: `timestamp value`, `timestamp value step`, or more fields behind the
 * step; undefined where it says nothing of the kind. Without a step it is step 0, as MLflow reads it.
 */
export function parseMetricLine(line: string): MetricLine | undefined {
  const [time, value, step = "0", ...rest] = line.trim().split(" ");
  const number = parseFloatOfPython(value ?? "");
  if (!isInteger(time ?? "") || number === undefined || !isInteger(step)) return undefined;
  return { time: Number(time), value: number, step: Number(step), rest };
}

const isInteger = (text: string): boolean => /^[+-]?\d+(\.0*)?$/.test(text);

/** Returns the number that Python's repr of a float stands for. */
export function parseFloatOfPython(text: string): number | undefined {
  if (/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) return Number(text);
  if (/^[+-]?nan$/i.test(text)) return NaN;
  const [, sign] = /^([+-]?)inf(inity)?$/i.exec(text) ?? [];
  return sign === undefined ? undefined : sign === "-" ? -Infinity : Infinity;
}

/** Yields a file's lines as they are read, many at a time, without their ends: LF, or CR LF of a file that went through Windows. */
export async function* linesOf(file: Blob): AsyncGenerator<string[]> {
  let cut = "";
  for await (const text of file.stream().pipeThrough(new TextDecoderStream())) {
    const lines = (cut + text).split("\n");
    cut = lines.pop()!;
    yield lines.map(withoutReturn);
  }
  if (cut !== "") yield [withoutReturn(cut)];
}

const withoutReturn = (line: string): string => (line.endsWith("\r") ? line.slice(0, -1) : line);
