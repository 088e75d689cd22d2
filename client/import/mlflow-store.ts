import type { Tags } from "../../wire/config.ts";
import type { OnSkip } from "./found.ts";
import type { ArtifactPlaces } from "./mlflow-artifacts.ts";
import { parseMeta, type Meta } from "./mlflow-meta.ts";
import { linesOf } from "./mlflow-metrics.ts";
import { mapParallel } from "./parallel.ts";
import { joined, walk, type Tree } from "./tree.ts";

/** A file store of MLflow's, read by its folders: what each of them holds is for its nouns to say. */
export class MlflowStore {
  readonly tree: Tree;
  readonly skip: OnSkip;
  readonly places: ArtifactPlaces;

  constructor(tree: Tree, skip: OnSkip, places: ArtifactPlaces) {
    this.tree = tree;
    this.skip = skip;
    this.places = places;
  }

  /** The names of the folders in a folder. */
  async folders(folder: string): Promise<string[]> {
    const entries = await this.tree.list(folder);
    return entries.filter(({ kind }) => kind === "folder").map(({ name }) => name);
  }

  /** Reads a meta.yaml; says why, and returns nothing, where it is missing or is none. */
  async meta(what: string, folder: string, file = "meta.yaml"): Promise<Meta | undefined> {
    const path = joined(folder, file);
    try {
      const entries = await this.tree.list(folder);
      if (!entries.some(({ name }) => name === file)) throw new Error(`no ${file}`);
      return parseMeta(await this.text(path));
    } catch (error) {
      const why = (error as Error).message.split("\n", 1)[0]!;
      this.skip({ what, name: folder, why: why.startsWith("no ") ? why : `${file}: ${why}` });
      return undefined;
    }
  }

  async text(path: string): Promise<string> {
    return (await this.tree.open(path)).text();
  }

  /** The files below a folder as text, by path; a slash in a key has become a folder. Says which cannot be read. */
  async texts(folder: string): Promise<Tags> {
    const entries = await mapParallel(await this.#filesBelow(folder), async (path) => {
      try {
        return [[path, await this.text(joined(folder, path))] as const];
      } catch (error) {
        this.skip({ what: "file", name: joined(folder, path), why: (error as Error).message });
        return [];
      }
    });
    return Object.fromEntries(entries.flat());
  }

  async #filesBelow(folder: string): Promise<string[]> {
    const paths: string[] = [];
    try {
      for await (const { path, kind } of walk(this.tree, folder))
        if (kind === "file") paths.push(path);
        else
          this.skip({ what: "file", name: joined(folder, path), why: "is a link that leads out" });
    } catch (error) {
      this.skip({ what: "folder", name: folder, why: (error as Error).message });
    }
    return paths;
  }

  /** The metric files of a folder: small ones are read many at a time, large ones as they are asked for. */
  async *metricFiles(
    folder: string,
  ): AsyncGenerator<{ path: string; lines: AsyncIterable<string[]> | Iterable<string[]> }> {
    const paths = await this.#filesBelow(folder);
    for (let at = 0; at < paths.length; at += 64) {
      const some = await mapParallel(paths.slice(at, at + 64), async (path) => {
        const file = await this.tree.open(joined(folder, path));
        const lines = file.size < 100_000 ? await Array.fromAsync(linesOf(file)) : linesOf(file);
        return { path, lines };
      });
      yield* some;
    }
  }
}
