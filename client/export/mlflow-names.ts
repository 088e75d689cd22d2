/** Whether MLflow takes a text as the name of a param, metric or tag, and can keep it as a path in a file store. */
function isMlflowName(name: string): boolean {
  return (
    name !== "" &&
    name.length <= 250 &&
    /^[\p{L}\p{N}_/.\- :]*$/u.test(name) &&
    name.split("/").every((part) => part !== "" && part !== "." && part !== "..")
  );
}

/** Returns the nearest name that MLflow takes: "_" for what it does not. */
export function mlflowName(name: string): string {
  const parts = name
    .replace(/[^\p{L}\p{N}_/.\- :]/gu, "_")
    .slice(0, 250)
    .split("/")
    .map((part) => (part === "." || part === ".." ? part.replaceAll(".", "_") : part || "_"));
  return parts.join("/").slice(0, 250);
}

/** The names that a run's keys have in a file store, where a name is a path: given as they are asked for. */
export class StoreNames {
  readonly #names = new Map<string, string | undefined>();
  readonly #files = new Set<string>();
  readonly #folders = new Set<string>();

  /** Whether a key was asked for before. */
  has(key: string): boolean {
    return this.#names.has(key);
  }

  /** Returns a key's name; undefined where another has it, or where it would have to be a file and a folder at once. */
  nameOf(key: string): string | undefined {
    if (this.#names.has(key)) return this.#names.get(key);
    const name = isMlflowName(key) ? key : mlflowName(key);
    const parts = name.split("/");
    const around = parts.slice(1).map((_, i) => parts.slice(0, i + 1).join("/"));
    const hasRoom =
      !this.#files.has(name) &&
      !this.#folders.has(name) &&
      !around.some((folder) => this.#files.has(folder));
    if (hasRoom) {
      this.#files.add(name);
      for (const folder of around) this.#folders.add(folder);
    }
    this.#names.set(key, hasRoom ? name : undefined);
    return hasRoom ? name : undefined;
  }
}
