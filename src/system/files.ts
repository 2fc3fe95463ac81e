/** Files that a configuration names, handed in. Both methods reject as Node's `fs` does. */
export interface Files {
  /** The path with every link followed. */
  realPath(path: string): Promise<string>
  /** At most `bytesMax` bytes from the beginning. */
  read(path: string, bytesMax: number): Promise<Uint8Array>
}
