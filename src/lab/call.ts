import type { FaultEffect } from './faults.ts'
import type { Header } from './header.ts'

/** A call to a pretend vendor, whole: nothing is judged before the last byte of the body is in. */
export interface Call {
  readonly method: string
  /** As sent, percent-encoding and all. */
  readonly path: string
  /** With its `?`; '' when there is none. */
  readonly query: string
  /** In the order received, repeated names kept. */
  readonly headers: readonly Header[]
  readonly body: Uint8Array
  /** What the vendor takes for the time: the lab's clock, moved by a `clock_offset` fault. */
  readonly nowMs: number
  readonly effect: FaultEffect
  /** Aborts when the caller is gone. */
  readonly signal: AbortSignal
}

/** What a pretend vendor answers: bytes with a length, or events as they come. */
export interface Answer {
  readonly status: number
  readonly headers: readonly Header[]
  readonly body: Uint8Array | AsyncIterable<string | Uint8Array>
}

/** A pretend vendor: a part of the address space, and how strictly it judges what arrives there. */
export interface Vendor {
  /** What faults and the journal call it, for example `google.token`. */
  readonly name: string
  /** A longer body is refused with 413 and not read to its end. */
  readonly bodyBytesMax: number
  owns(path: string): boolean
  answer(call: Call): Answer
  /** A refusal in the vendor's own dialect. */
  refuse(status: number, message: string): Answer
}

/** An answer of JSON text, sent exactly as given. */
export function textAnswer(status: number, json: string, headers: readonly Header[] = []): Answer {
  return {
    status,
    headers: [['content-type', 'application/json; charset=UTF-8'], ...headers],
    body: new TextEncoder().encode(json),
  }
}

/** An answer of one JSON value. */
export function jsonAnswer(
  status: number,
  value: unknown,
  headers: readonly Header[] = [],
): Answer {
  return textAnswer(status, JSON.stringify(value), headers)
}

/** A stream of server-sent events. */
export function eventAnswer(
  events: AsyncIterable<string>,
  headers: readonly Header[] = [],
): Answer {
  return {
    status: 200,
    headers: [
      ['content-type', 'text/event-stream; charset=utf-8'],
      ['cache-control', 'no-cache'],
      ...headers,
    ],
    body: events,
  }
}

/** One server-sent event; without a name only its data. */
export function eventText(name: string, value: unknown): string {
  const data = `data: ${JSON.stringify(value)}\n\n`
  return name === '' ? data : `event: ${name}\n${data}`
}
