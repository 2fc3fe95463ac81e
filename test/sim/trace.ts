const LINES_KEPT = 120

/** What happened, as text: the last lines are kept, all of them go into a hash. */
export class Trace {
  readonly #onLine: ((line: string) => void) | null
  readonly #lines: string[] = []
  readonly #nowMs: () => number
  #hash = 0x811c9dc5
  #count = 0

  constructor(nowMs: () => number, onLine: ((line: string) => void) | null) {
    this.#nowMs = nowMs
    this.#onLine = onLine
  }

  /** How many lines there were. */
  get count(): number {
    return this.#count
  }

  /** FNV-1a over every line: two runs with the same hash went the same way. */
  get hash(): string {
    return this.#hash.toString(16).padStart(8, '0')
  }

  /** The last lines, oldest first. */
  get last(): readonly string[] {
    return this.#lines.slice(-LINES_KEPT)
  }

  note(what: string): void {
    const line = `${this.#nowMs()} ${what}`
    let hash = this.#hash
    for (let at = 0; at < line.length; at += 1)
      hash = Math.imul(hash ^ line.charCodeAt(at), 0x01000193)
    this.#hash = hash >>> 0
    this.#count += 1
    this.#lines.push(line)
    if (this.#lines.length > 2 * LINES_KEPT) this.#lines.splice(0, LINES_KEPT)
    this.#onLine?.(line)
  }
}
