import type { Clock } from '../system/clock.ts'
import { type Fault, type FaultEffect, NO_EFFECT, parseFault, parseFaultWords } from './faults.ts'

/** A fault that stands, with what is left of it. */
interface StandingFault {
  readonly target: string
  readonly text: string
  /** null for any number of calls. */
  readonly callsLeft: number | null
  /** null for no end. */
  readonly msLeft: number | null
}

/** What the lab asks about a call before it lets a fault have it. */
export interface FaultSubject {
  readonly vendorName: string
  readonly path: string
  readonly isStream: () => boolean
}

/**
 * The faults of a lab, in the order they were set. One call meets at most one fault: the oldest
 * that matches. So faults with counts, set one after the other, form a script.
 */
export interface FaultList {
  /**
   * Sets or clears as the text says, one command a line; an array of words is one command and
   * needs no quoting. When a line cannot be read, none is obeyed.
   *
   * @throws AppError `invalid_usage`.
   */
  set(command: string | readonly string[]): void
  list(): readonly StandingFault[]
  /** Clears the faults of one target, or all. */
  clear(target?: string): void
  /** The effect on this call, which counts as one. */
  take(subject: FaultSubject): FaultEffect
}

/** Makes a list without faults. Spans run on the monotonic clock. */
export function createFaultList(
  deps: { readonly clock: Clock },
  vendorNames: readonly string[],
): FaultList {
  interface Entry {
    readonly fault: Fault
    readonly untilMs: number
    readonly callsLeft: number
  }
  let entries: readonly Entry[] = []

  const dropSpent = (): number => {
    const nowMs = deps.clock.monotonicMs()
    entries = entries.filter(entry => entry.untilMs > nowMs && entry.callsLeft > 0)
    return nowMs
  }
  const clear = (target = '*'): void => {
    entries = entries.filter(({ fault }) => target !== '*' && fault.target !== target)
  }

  const add = (fault: Fault): void => {
    const untilMs = deps.clock.monotonicMs() + (fault.forMs ?? Number.POSITIVE_INFINITY)
    const callsLeft = fault.count ?? Number.POSITIVE_INFINITY
    entries = [...entries, { fault, untilMs, callsLeft }]
  }

  return {
    clear,
    set(command) {
      const parsed =
        typeof command === 'string'
          ? linesOf(command).map(line => parseFault(line, vendorNames))
          : [parseFaultWords(command, vendorNames)]
      for (const one of parsed) {
        if (one.kind === 'clear') clear(one.target)
        else add(one.fault)
      }
    },
    list() {
      const nowMs = dropSpent()
      return entries.map(({ fault, untilMs, callsLeft }) => ({
        target: fault.target,
        text: fault.text,
        callsLeft: fault.count === null ? null : callsLeft,
        msLeft: fault.forMs === null ? null : untilMs - nowMs,
      }))
    },
    take(subject) {
      dropSpent()
      const found = entries.find(entry => isMatch(entry.fault, subject))
      if (found === undefined) return NO_EFFECT
      entries = entries.map(entry =>
        entry === found ? { ...entry, callsLeft: entry.callsLeft - 1 } : entry,
      )
      return found.fault.effect
    },
  }
}

/** The lines that say something; a text without any is one empty command, which is refused. */
function linesOf(text: string): readonly string[] {
  const lines = text.split('\n').filter(line => line.trim() !== '')
  return lines.length === 0 ? [''] : lines
}

function isMatch(fault: Fault, subject: FaultSubject): boolean {
  const { target, effect } = fault
  const isTarget =
    target === '*' ||
    target === subject.vendorName ||
    (target.startsWith('/') && subject.path.startsWith(target))
  return isTarget && (effect.breakAfter === null || subject.isStream())
}
