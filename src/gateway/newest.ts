/** A memory with room for so many things; what was put in first makes room for the newest. */
export interface Newest<T> {
  get(name: string): T | undefined
  set(name: string, value: T): void
  delete(name: string): void
  clear(): void
}

/** Makes an empty memory for `countMax` things, at least one. */
export function createNewest<T>(countMax: number): Newest<T> {
  const kept = new Map<string, T>()
  return {
    get: name => kept.get(name),
    set(name, value) {
      kept.delete(name)
      const oldest = kept.size < countMax ? undefined : kept.keys().next().value
      if (oldest !== undefined) kept.delete(oldest)
      kept.set(name, value)
    },
    delete: name => void kept.delete(name),
    clear: () => kept.clear(),
  }
}
