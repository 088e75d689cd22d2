/** A folder that is written: on a disk, in an archive, through a page's directory handle. */
export interface Sink {
  /** the folder's URI, by which what is written may refer to itself */
  uri: string;
  /** Makes a folder, and those around it. */
  folder(path: string): Promise<void>;
  /** Writes a file; the folders around it are made. */
  write(path: string, content: string | Blob): Promise<void>;
  /** Adds to a file, which is made where there is none. */
  append(path: string, text: string): Promise<void>;
}
