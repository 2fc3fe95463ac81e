// Protobuf by hand, from OpenShell's table of field numbers: it shares nothing with `proto/` or with the
// library that the product uses, so that a wrong number on either side shows.

/** A part of a message: one field with its value. */
type Part = Buffer

/** Puts parts together. */
export function message(...parts: readonly Part[]): Buffer {
  return Buffer.concat(parts)
}

export function text(field: number, value: string): Part {
  return nested(field, Buffer.from(value))
}

export function nested(field: number, bytes: Buffer): Part {
  return Buffer.concat([varint((BigInt(field) << 3n) | 2n), varint(BigInt(bytes.length)), bytes])
}

export function integer(field: number, value: number | bigint): Part {
  return Buffer.concat([varint(BigInt(field) << 3n), varint(BigInt.asUintN(64, BigInt(value)))])
}

/** One part an entry: a map is a repeated message of key 1 and value 2. */
export function map(field: number, entries: Readonly<Record<string, string>>): Part {
  const parts = Object.entries(entries).map(([key, value]) =>
    nested(field, message(text(1, key), text(2, value))),
  )
  return message(...parts)
}

/** A message that was received. Only what was sent is in it; all else has its default. */
export class Received {
  readonly #fields = new Map<number, (bigint | Buffer)[]>()

  constructor(bytes: Buffer) {
    let at = 0
    const next = (): bigint => {
      let value = 0n
      for (let shift = 0n; ; shift += 7n) {
        const byte = bytes[at]
        if (byte === undefined) throw new RangeError('The message ends in the middle of a number')
        at += 1
        value |= BigInt(byte & 0x7f) << shift
        if (byte < 0x80) return value
      }
    }
    while (at < bytes.length) {
      const tag = next()
      const values = this.#fields.get(Number(tag >> 3n)) ?? []
      this.#fields.set(Number(tag >> 3n), values)
      if ((tag & 7n) === 0n) values.push(next())
      else if ((tag & 7n) === 2n) {
        const length = Number(next())
        values.push(bytes.subarray(at, at + length))
        at += length
      } else throw new RangeError(`A field of wire type ${tag & 7n}`)
    }
  }

  has(field: number): boolean {
    return this.#fields.has(field)
  }

  /** 0 when it was not sent. */
  integer(field: number): bigint {
    const value = this.#fields.get(field)?.at(-1) ?? 0n
    if (typeof value !== 'bigint') throw new TypeError(`Field ${field} is no number`)
    return BigInt.asIntN(64, value)
  }

  texts(field: number): readonly string[] {
    return this.#buffers(field).map(bytes => bytes.toString())
  }

  /** '' when it was not sent. */
  text(field: number): string {
    return this.texts(field).at(-1) ?? ''
  }

  all(field: number): readonly Received[] {
    return this.#buffers(field).map(bytes => new Received(bytes))
  }

  /** Throws when it was not sent. */
  one(field: number): Received {
    const found = this.all(field).at(-1)
    if (found === undefined) throw new RangeError(`Field ${field} was not sent`)
    return found
  }

  /** A map of strings. */
  map(field: number): Readonly<Record<string, string>> {
    return Object.fromEntries(this.all(field).map(entry => [entry.text(1), entry.text(2)]))
  }

  /** The keys of any map. */
  keys(field: number): readonly string[] {
    return this.all(field).map(entry => entry.text(1))
  }

  #buffers(field: number): readonly Buffer[] {
    return (this.#fields.get(field) ?? []).map(value => {
      if (typeof value === 'bigint') throw new TypeError(`Field ${field} is a number`)
      return value
    })
  }
}

function varint(value: bigint): Buffer {
  const bytes: number[] = []
  let rest = value
  while (rest >= 0x80n) {
    bytes.push(Number(rest & 0x7fn) | 0x80)
    rest >>= 7n
  }
  return Buffer.from([...bytes, Number(rest)])
}
