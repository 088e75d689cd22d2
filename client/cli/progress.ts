/** A line on the terminal that shows how far something is, once it takes over a second. */
export interface ProgressBar {
  set(done: number, total: number, label?: string): void;
  /** Shows how much is done where nobody knows of how much. */
  count(label: string): void;
  end(): void;
}

/** Returns a progress bar on stderr, or a silent one where that is not a terminal. */
export function progressBar({
  out = process.stderr,
  now = Date.now,
}: { out?: NodeJS.WriteStream; now?: () => number } = {}): ProgressBar {
  const began = now();
  let shownAt = 0;
  const isTime = (): boolean => {
    if (!out.isTTY || now() - began < 1000 || now() - shownAt < 100) return false;
    shownAt = now();
    return true;
  };
  return {
    count(label) {
      if (isTime()) out.write(`\r\u001b[2K${label}`);
    },
    set(done, total, label = "") {
      if (!isTime()) return;
      const part = total > 0 ? Math.min(1, done / total) : 0;
      const filled = Math.round(part * 24);
      out.write(
        `\r\u001b[2K${"█".repeat(filled)}${"░".repeat(24 - filled)} ${String(Math.round(part * 100)).padStart(3)} % ${label}`,
      );
    },
    end() {
      if (shownAt) out.write("\r\u001b[2K");
    },
  };
}
