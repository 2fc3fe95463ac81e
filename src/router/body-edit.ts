import type { ModelEdit } from '../core/route.ts'
import { RouterError } from './errors.ts'
import { TopLevelScanner, type TopLevelSink } from './json-scanner.ts'

/** What is to become of a body, and what must be learnt from it. */
export interface EditRules {
  readonly model: ModelEdit
  readonly modelId: string
  /** The `anthropic_version` of a body that has none; null when none is to be added. */
  readonly version: string | null
  /** Whether the upstream's path depends on `stream`. */
  readonly needsStream: boolean
  /** Top-level members that the upstream does not take. */
  readonly removed: readonly string[]
  /** Members that every body gets, as JSON without braces; '' for none. */
  readonly added: string
}

/** Separators that may be held back while it is open whether the comma among them stays. */
const HELD_BYTES_MAX = 64 * 1024

const NOTHING = new Uint8Array()
/** What stands in for bytes that go although a length was promised: it means nothing between tokens. */
const BLANKS = Buffer.alloc(16 * 1024, ' ')

/** The members that matter in every body. */
const NAMES: readonly string[] = ['model', 'stream', 'anthropic_version']

/** What follows from rules, the same for every body that they are applied to. */
interface Working {
  /** The route's model as JSON. */
  readonly model: Uint8Array
  readonly removed: readonly string[]
  /** The members that are told by name. */
  readonly names: readonly string[]
}

const workings = new WeakMap<EditRules, Working>()

function workingOf(rules: EditRules): Working {
  const known = workings.get(rules)
  if (known !== undefined) return known
  const working = {
    model: Buffer.from(JSON.stringify(rules.modelId)),
    removed: rules.model === 'remove' ? [...rules.removed, 'model'] : rules.removed,
    names: rules.removed.length === 0 ? NAMES : [...NAMES, ...rules.removed],
  }
  workings.set(rules, working)
  return working
}

/**
 * Edits the top level of a JSON body in the bytes, chunk by chunk, and re-serialises nothing: what
 * it gives out are views of the chunks it was given, with the edits between them.
 *
 * A replaced value is replaced from its first byte to its last. A removed member goes from its first
 * quote through the comma behind it; when no member follows, from the comma before it to the closing
 * brace. Members to be added come first, right behind the opening brace.
 *
 * Once it has begun to give out pieces before the end of the body was seen, no later byte may change
 * the length: whatever must still go is overwritten with blanks. A `model` that comes then goes,
 * because the one that is to be read has left already.
 */
export class BodyEdit implements TopLevelSink {
  readonly #rules: EditRules
  readonly #model: Uint8Array
  readonly #scanner: TopLevelScanner
  #removed: readonly string[]

  /** Given out by `take`, in order. */
  #pieces: Uint8Array[] = []
  /** Where in `#pieces` added members belong. */
  #gap = 0
  #hasBegun = false
  /** Bytes that were pushed. */
  #bytes = 0
  #chunk: Uint8Array = NOTHING
  #carried: Uint8Array | null = null
  /** The chunk's bytes from here on are neither given out nor dropped yet. */
  #from = 0
  #isDropping = false
  /** Where the separator begins whose comma may have to go; -1 when there is none. */
  #heldFrom = -1
  /** The parts of that separator which stood in earlier chunks or before dropped members. */
  #held: Uint8Array[] = []

  #member = ''
  /** Whether the member's value is the agent's model, in whose place the route's goes. */
  #isReplacing = false
  #membersKept = 0
  #hasModel = false
  #hasVersion = false
  #stream: boolean | null = null

  constructor(rules: EditRules) {
    const { model, removed, names } = workingOf(rules)
    this.#rules = rules
    this.#model = model
    this.#removed = removed
    this.#scanner = new TopLevelScanner(names)
  }

  /** The body's top-level `stream`; false when it is absent or anything but `true`. */
  get isStream(): boolean {
    return this.#stream === true
  }

  /** Whether nothing that is still to come can change where the body goes or how it begins. */
  get isDecided(): boolean {
    const { model, needsStream, version, added } = this.#rules
    const isPlaceKnown = this.#membersKept > 0 || (model !== 'replace' && added === '')
    return (
      (!needsStream || this.#stream !== null) &&
      (version === null || this.#hasVersion) &&
      isPlaceKnown
    )
  }

  /**
   * Begins to give out a decided body before its end. Returns its length when it is edited, given its
   * length as the agent sends it.
   */
  begin(agentBytes: number): number {
    const added = this.#added()
    if (added !== '') this.#pieces.splice(this.#gap, 0, Buffer.from(`${added},`))
    if (this.#rules.model === 'replace') this.#removed = [...this.#removed, 'model']
    this.#hasBegun = true
    const isModelToCome = this.#isReplacing && !this.#isDropping
    const read = this.#bytes - (this.#carried?.length ?? 0)
    const made = sizeOf(this.#pieces) + sizeOf(this.#held)
    return agentBytes - read + made + (isModelToCome ? this.#model.length : 0)
  }

  /**
   * Takes in a chunk, which must not change afterwards.
   *
   * @throws RouterError `bad_request` when the body is no JSON object, or an ambiguous one.
   */
  push(chunk: Uint8Array): void {
    this.#bytes += chunk.length
    this.#chunk = this.#carried === null ? chunk : Buffer.concat([this.#carried, chunk])
    this.#from = 0
    if (this.#heldFrom !== -1) this.#heldFrom = 0
    const settled = this.#scanner.push(this.#chunk, this)
    this.#settle(settled)
    this.#carried = settled < this.#chunk.length ? this.#chunk.subarray(settled) : null
    this.#limitHeld()
  }

  /** Says that the body is complete. @throws RouterError `bad_request` when it is not. */
  finish(): void {
    this.#scanner.finish()
  }

  /** All pieces, after `finish`; after `begin` those that can be sent so far, each once. */
  take(): readonly Uint8Array[] {
    const pieces = this.#pieces
    this.#pieces = []
    return pieces
  }

  opened(at: number): void {
    this.#settle(at + 1)
    this.#gap = this.#pieces.length
  }

  key(name: string, at: number): void {
    this.#member = name
    if (name === 'model') this.#hasModel = true
    if (name === 'anthropic_version') this.#hasVersion = true
    if (this.#removed.includes(name)) {
      this.#settle(at)
      this.#isDropping = true
      return
    }
    this.#membersKept += 1
    this.#isReplacing = name === 'model' && this.#rules.model === 'replace'
    if (this.#held.length > 0) {
      this.#pieces.push(...this.#held)
      this.#held = []
    }
    this.#heldFrom = -1
  }

  valueStarted(at: number): void {
    if (!this.#isReplacing) return
    this.#settle(at)
    this.#pieces.push(this.#model)
    this.#isDropping = true
  }

  valueEnded(at: number, { isTrue }: { readonly isTrue: boolean }): void {
    if (this.#isReplacing) this.#keepFrom(at)
    this.#isReplacing = false
    if (this.#member !== 'stream') return
    // Readers disagree on which of two wins, and the path must not say another thing than the body.
    if (this.#stream !== null && this.#stream !== isTrue) {
      throw new RouterError(
        'bad_request',
        'The request body has "stream" twice with different values. Send it once',
      )
    }
    this.#stream = isTrue
  }

  comma(at: number): void {
    if (this.#isDropping) {
      this.#keepFrom(at + 1)
      if (this.#heldFrom !== -1) this.#heldFrom = at + 1
    } else if (this.#removed.length > 0 || this.#rules.model === 'replace') {
      this.#heldFrom = at
    }
  }

  closed(at: number): void {
    if (this.#isDropping) {
      this.#keepFrom(at)
      this.#drop(sizeOf(this.#held))
      this.#held = []
      this.#heldFrom = -1
    }
    const added = this.#hasBegun ? '' : this.#added()
    if (added === '') return
    const text = this.#membersKept > 0 ? `${added},` : added
    this.#pieces.splice(this.#gap, 0, Buffer.from(text))
  }

  /** The members that the body gets: those that it lacks, and those of every body, as JSON text. */
  #added(): string {
    const { version, model, modelId, added } = this.#rules
    const members: string[] = added === '' ? [] : [added]
    if (version !== null && !this.#hasVersion) {
      members.push(`"anthropic_version":${JSON.stringify(version)}`)
    }
    if (model === 'replace' && !this.#hasModel) members.push(`"model":${JSON.stringify(modelId)}`)
    return members.join(',')
  }

  #keepFrom(at: number): void {
    this.#isDropping = false
    this.#drop(at - this.#from)
    this.#from = at
  }

  #drop(count: number): void {
    if (!this.#hasBegun) return
    for (let left = count; left > 0; left -= BLANKS.length) {
      this.#pieces.push(left < BLANKS.length ? BLANKS.subarray(0, left) : BLANKS)
    }
  }

  /** Decides on the bytes before `at`: given out, held back, or dropped. */
  #settle(at: number): void {
    if (this.#isDropping) this.#drop(at - this.#from)
    else {
      const isHolding = this.#heldFrom !== -1
      const keptEnd = isHolding ? this.#heldFrom : at
      if (keptEnd > this.#from) this.#pieces.push(this.#chunk.subarray(this.#from, keptEnd))
      if (isHolding && at > keptEnd) this.#held.push(this.#chunk.subarray(keptEnd, at))
    }
    this.#from = at
    if (this.#heldFrom !== -1) this.#heldFrom = at
  }

  #limitHeld(): void {
    if (this.#held.length === 0 || sizeOf(this.#held) <= HELD_BYTES_MAX) return
    throw new RouterError(
      'bad_request',
      'The request body has too much space between members. Send it without',
    )
  }
}

/** The bytes of all pieces together. */
export function sizeOf(pieces: readonly Uint8Array[]): number {
  let bytes = 0
  for (const piece of pieces) bytes += piece.length
  return bytes
}
