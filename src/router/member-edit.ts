import type { MemberDefault } from '../core/route.ts'
import { RouterError } from './errors.ts'

/** What is to become of members deep in a document, by their paths: `system[].cache_control.scope`. */
export interface MemberEdits {
  /** They go, each with its comma. */
  readonly cut: readonly string[]
  /** They are added where an object on the way lacks them. */
  readonly fill: readonly MemberDefault[]
}

/** What is wanted below a place in a document. */
interface Branch {
  isCut: boolean
  /** JSON; '' where nothing is added. */
  fill: string
  readonly below: Map<string, Branch>
}

/** Bytes that are dropped, and what stands there instead. */
interface Edit {
  readonly from: number
  readonly to: number
  readonly text: string
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COLON = 0x3a
const COMMA = 0x2c
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d

const BYTE_ORDER_MARK: readonly number[] = [0xef, 0xbb, 0xbf]

/** As one step of a path: each element of a list. */
const ELEMENTS = '[]'

/**
 * Edits members deep in a JSON document. What is left are views of the document's own bytes; only what
 * lies on the way to a path is looked into, the rest is passed over.
 *
 * @throws RouterError `bad_request` for what is no JSON there.
 */
export function editMembers(document: Uint8Array, edits: MemberEdits): readonly Uint8Array[] {
  const walk = new Walk(document)
  const hasMark = BYTE_ORDER_MARK.every((byte, at) => document[at] === byte)
  walk.value(hasMark ? BYTE_ORDER_MARK.length : 0, treeOf(edits))
  return walk.edited()
}

function treeOf({ cut, fill }: MemberEdits): Branch {
  const root: Branch = { isCut: false, fill: '', below: new Map() }
  for (const path of cut) branchAt(root, path).isCut = true
  for (const { path, json } of fill) branchAt(root, path).fill = json
  return root
}

function branchAt(root: Branch, path: string): Branch {
  let branch = root
  for (const step of path.split(/\.|(?=\[\])/)) {
    const next = branch.below.get(step) ?? { isCut: false, fill: '', below: new Map() }
    branch.below.set(step, next)
    branch = next
  }
  return branch
}

/** A walk through a document. Positions count its bytes; each step says where the next begins. */
class Walk {
  readonly #bytes: Uint8Array
  readonly #edits: Edit[] = []

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** The document with all edits. Those of an object are found after those in its members. */
  edited(): readonly Uint8Array[] {
    const pieces: Uint8Array[] = []
    let at = 0
    for (const { from, to, text } of this.#edits.sort((one, other) => one.from - other.from)) {
      if (from > at) pieces.push(this.#bytes.subarray(at, from))
      if (text !== '') pieces.push(Buffer.from(text))
      at = Math.max(at, to)
    }
    if (at < this.#bytes.length) pieces.push(this.#bytes.subarray(at))
    return pieces
  }

  value(start: number, branch: Branch | undefined): number {
    const at = this.#blank(start)
    const byte = this.#bytes[at]
    if (byte === QUOTE) return this.#string(at)
    if (byte !== OPEN_BRACE && byte !== OPEN_BRACKET) return this.#scalar(at)
    if (branch === undefined) return this.#passOver(at)
    return byte === OPEN_BRACE ? this.#object(at, branch) : this.#list(at, branch)
  }

  #list(start: number, { below }: Branch): number {
    const elements = below.get(ELEMENTS)
    let at = this.#blank(start + 1)
    while (this.#bytes[at] !== CLOSE_BRACKET) {
      at = this.#blank(this.value(at, elements))
      if (this.#bytes[at] === COMMA) at += 1
      else if (this.#bytes[at] !== CLOSE_BRACKET) throw malformed()
    }
    return at + 1
  }

  #object(start: number, { below }: Branch): number {
    const missing = new Map([...below].filter(([, { fill }]) => fill !== ''))
    let keptTo = -1
    let at = this.#blank(start + 1)
    while (this.#bytes[at] !== CLOSE_BRACE) {
      if (this.#bytes[at] !== QUOTE) throw malformed()
      const from = at
      const keyEnd = this.#string(from)
      const key = this.#key(from, keyEnd)
      const branch = below.get(key)
      missing.delete(key)
      at = this.#blank(keyEnd)
      if (this.#bytes[at] !== COLON) throw malformed()
      const isCut = branch?.isCut === true
      const to = this.value(at + 1, isCut ? undefined : branch)
      if (isCut) this.#cut({ from, to, keptTo })
      else keptTo = to
      at = this.#blank(to)
      if (this.#bytes[at] === COMMA) at = this.#blank(at + 1)
      else if (this.#bytes[at] !== CLOSE_BRACE) throw malformed()
    }
    this.#fill(start, missing, { isEmpty: keptTo === -1 })
    return at + 1
  }

  /** Adds what an object lacks, right behind its brace. */
  #fill(
    brace: number,
    missing: ReadonlyMap<string, Branch>,
    { isEmpty }: { readonly isEmpty: boolean },
  ): void {
    if (missing.size === 0) return
    const members = [...missing].map(([name, { fill }]) => `${JSON.stringify(name)}:${fill}`)
    const text = `${members.join(',')}${isEmpty ? '' : ','}`
    this.#edits.push({ from: brace + 1, to: brace + 1, text })
  }

  /** Drops a member: with the comma behind the last that stays, or, when none does, behind itself. */
  #cut({ from, to, keptTo }: Readonly<Record<'from' | 'to' | 'keptTo', number>>): void {
    if (keptTo !== -1) {
      this.#drop(keptTo, to)
      return
    }
    const behind = this.#blank(to)
    this.#drop(from, this.#bytes[behind] === COMMA ? behind + 1 : to)
  }

  #drop(from: number, to: number): void {
    this.#edits.push({ from, to, text: '' })
  }

  #key(from: number, to: number): string {
    const text = Buffer.from(this.#bytes.subarray(from, to)).toString()
    try {
      return String(JSON.parse(text))
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error
      throw malformed()
    }
  }

  #blank(start: number): number {
    let at = start
    while ([0x20, 0x09, 0x0a, 0x0d].includes(this.#bytes[at] ?? 0)) at += 1
    return at
  }

  #scalar(start: number): number {
    let at = start
    while (/[-+.\w]/.test(String.fromCharCode(this.#bytes[at] ?? 0))) at += 1
    if (at === start) throw malformed()
    return at
  }

  /** `start` is the opening quote. */
  #string(start: number): number {
    let at = start + 1
    for (;;) {
      const quote = this.#bytes.indexOf(QUOTE, at)
      if (quote === -1) throw malformed()
      let escapes = quote
      while (escapes > at && this.#bytes[escapes - 1] === BACKSLASH) escapes -= 1
      at = quote + 1
      if ((quote - escapes) % 2 === 0) return at
    }
  }

  /** To the end of an object or list in which nothing is wanted. */
  #passOver(start: number): number {
    let depth = 0
    for (let at = start; at < this.#bytes.length; at += 1) {
      const byte = this.#bytes[at]
      if (byte === QUOTE) at = this.#string(at) - 1
      else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth += 1
      else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) depth -= 1
      if (depth === 0) return at + 1
    }
    throw malformed()
  }
}

function malformed(): RouterError {
  return new RouterError('bad_request', 'The request body is not JSON. Send a JSON object')
}
