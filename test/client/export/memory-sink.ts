import type { Sink } from "../../../client/export/sink.ts";
import { treeOfFiles, type Tree } from "../../../client/import/tree.ts";

/** A folder in memory: what is written to it can be read as a tree. */
export class MemorySink implements Sink {
  readonly uri = "file:///memory";
  readonly files = new Map<string, Blob>();

  async folder(): Promise<void> {}

  async write(path: string, content: string | Blob): Promise<void> {
    this.files.set(path, new Blob([content]));
  }

  async append(path: string, text: string): Promise<void> {
    this.files.set(path, new Blob([this.files.get(path) ?? "", text]));
  }

  tree(): Tree {
    return treeOfFiles(this.files);
  }
}
