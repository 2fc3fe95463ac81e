/**
 * Where there is trouble, and since when there is none. Whoever says that something should have
 * recovered by now asks here how long it had peace to do so. Scopes are names: `gateway`, `network`,
 * a machine's name, `account 7`.
 */
export class Weather {
  readonly #nowMs: () => number
  readonly #active = new Map<string, number>()
  readonly #lastMs = new Map<string, number>()

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  /** Trouble that is over at once. */
  touch(scope: string): void {
    this.#lastMs.set(scope, this.#nowMs())
  }

  begin(scope: string): void {
    this.touch(scope)
    this.#active.set(scope, (this.#active.get(scope) ?? 0) + 1)
  }

  end(scope: string): void {
    this.touch(scope)
    this.#active.set(scope, (this.#active.get(scope) ?? 1) - 1)
  }

  /** For how long none of the scopes has seen trouble. */
  calmForMs(...scopes: readonly string[]): number {
    let sinceMs = 0
    for (const scope of scopes) {
      if ((this.#active.get(scope) ?? 0) > 0) return 0
      sinceMs = Math.max(sinceMs, this.#lastMs.get(scope) ?? 0)
    }
    return this.#nowMs() - sinceMs
  }
}
