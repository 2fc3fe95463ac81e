/**
 * A string that never prints. It carries every credential from the byte it is read to the byte it
 * leaves; `reveal()` is called only at that last place. Printing, JSON and string conversion show
 * `[secret]`.
 */
export class Secret {
  readonly #value: string

  constructor(value: string) {
    this.#value = value
  }

  /** The text itself. Call it only where the secret leaves: the form, the header, the seal. */
  reveal(): string {
    return this.#value
  }

  /** Whether the text is the empty string. */
  get isEmpty(): boolean {
    return this.#value === ''
  }

  equals(other: Secret): boolean {
    return this.#value === other.#value
  }

  toString(): string {
    return '[secret]'
  }

  toJSON(): string {
    return '[secret]'
  }

  /** What `util.inspect` and `console.log` show. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return '[secret]'
  }
}
