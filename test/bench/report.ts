import { readFileSync, writeFileSync, existsSync } from "node:fs";
import { cpus, platform, release } from "node:os";
import { join } from "node:path";

const show = (value: number): string =>
  value >= 1000 ? Math.round(value).toLocaleString("en") : value.toFixed(value < 10 ? 2 : 1);

/** Prints one measured figure, and what it is to be held against. */
export function say(bench: string, what: string, value: number, unit: string, against = ""): void {
  console.log(
    `${bench.padEnd(10)} ${what.padEnd(48)} ${show(value).padStart(10)} ${unit.padEnd(9)} ${against}`,
  );
}

export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}

type Figure = [value: number, unit: string];

/** The figures of one bench, printed as they come and kept in RESULTS.md with the machine and the day. */
export class Report {
  readonly #bench: string;
  readonly #rows: string[] = [];

  constructor(bench: string) {
    this.#bench = bench;
  }

  /** Adds a figure and its target; of a ratio also what it was made of. */
  add(
    what: string,
    value: number,
    unit: string,
    target: string,
    { against, ours }: { against?: Figure; ours?: Figure } = {},
  ): void {
    const parts = [ours, against].flatMap((figure) =>
      figure ? [`${show(figure[0])} ${figure[1]}`] : [],
    );
    say(
      this.#bench,
      what,
      value,
      unit,
      `(target ${target})${parts.length ? ` ${parts.join(" : ")}` : ""}`,
    );
    this.#rows.push(`| ${what} | ${show(value)} ${unit} | ${target} | ${parts.join(" : ")} |`);
  }

  /** Writes the figures into RESULTS.md, in the place of this bench's earlier ones. */
  keep(): void {
    const path = join(import.meta.dirname, "RESULTS.md");
    const machine = `${cpus().length} cores (${cpus()[0]!.model.trim()}), ${platform()} ${release()}, Node ${process.versions.node}`;
    const section = [
      `## ${this.#bench}`,
      "",
      `${new Date().toISOString().slice(0, 10)}, ${machine}. Medians of interleaved rounds; the last column is both sides of a ratio, ours first.`,
      "",
      "| | measured | target | of |",
      "|---|---|---|---|",
      ...this.#rows,
      "",
    ].join("\n");
    const before = existsSync(path)
      ? readFileSync(path, "utf8")
      : "# Results of `npm run bench`\n\n";
    const [head, ...others] = before.split(/^(?=## )/m);
    const kept = others.filter((other) => !other.startsWith(`## ${this.#bench}\n`));
    writeFileSync(path, [head, ...kept, section].join("").trimEnd() + "\n");
  }
}
