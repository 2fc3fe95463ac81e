import { once } from 'node:events'
import { type ServerResponse, STATUS_CODES } from 'node:http'
import type { Writable } from 'node:stream'
import { finished } from 'node:stream/promises'
import type { Clock } from '../system/clock.ts'
import type { Answer } from './call.ts'
import type { FaultEffect } from './faults.ts'
import type { Header } from './header.ts'

/**
 * How a delivery ended. `ended` the caller could read all of it · `broken` a fault cut it off ·
 * `abandoned` the caller left before the end.
 */
export type Outcome = 'ended' | 'broken' | 'abandoned'

/** What a delivery needs: the way to the caller, and its end. */
export interface Wire {
  readonly clock: Clock
  readonly response: ServerResponse
  /** Aborts when the connection is gone. */
  readonly signal: AbortSignal
  /** Called right before the head leaves; never when none does. */
  readonly onHead: () => void
}

/** Sends an answer, on time and whole unless the effect says otherwise. */
export async function deliver(answer: Answer, effect: FaultEffect, wire: Wire): Promise<Outcome> {
  const { clock, response, signal } = wire
  if (effect.delayMs > 0) await clock.sleep(effect.delayMs, signal)
  if (effect.isHanging && !signal.aborted) await once(signal, 'abort')
  const socket = response.socket
  if (signal.aborted || socket === null) return 'abandoned'
  if (effect.reset === 'before') {
    socket.resetAndDestroy()
    return 'broken'
  }
  wire.onHead()
  const headers = headersOf(answer, effect, clock.nowMs())
  const isRaw = effect.dripHeadMs > 0
  const out: Writable = isRaw ? socket : response
  if (isRaw) await dripHead(answer.status, headers, effect.dripHeadMs, wire)
  else {
    response.sendDate = false
    response.writeHead(answer.status, headers.flat())
    // The first event may be long in coming; the head must not wait for it.
    response.flushHeaders()
  }
  if (effect.reset === 'after') {
    socket.resetAndDestroy()
    return 'broken'
  }
  const isWhole = await sendBody(answer, effect, { ...wire, out })
  if (!isWhole) {
    const isAbandoned = signal.aborted
    socket.destroy()
    return isAbandoned ? 'abandoned' : 'broken'
  }
  out.end()
  return endOf(out, signal)
}

async function endOf(out: Writable, signal: AbortSignal): Promise<Outcome> {
  try {
    await finished(out, { readable: false })
    return 'ended'
  } catch (error) {
    if (signal.aborted || out.destroyed) return 'abandoned'
    throw error
  }
}

/** The lab's own `Date` and framing, and the fault's headers in place of any of the same name. */
function headersOf(answer: Answer, effect: FaultEffect, nowMs: number): readonly Header[] {
  const dateMs = nowMs + effect.clockOffsetMs + effect.dateOffsetMs
  const usual: readonly Header[] = [
    ...answer.headers,
    ['date', new Date(dateMs).toUTCString()],
    ...framing(answer, effect),
  ]
  const replaced = new Set(effect.headers.map(([name]) => name))
  return [...usual.filter(([name]) => !replaced.has(name)), ...effect.headers]
}

function framing({ status, body }: Answer, effect: FaultEffect): readonly Header[] {
  // What is dripped by hand is framed by the end of the connection.
  const close: readonly Header[] = effect.dripHeadMs > 0 ? [['connection', 'close']] : []
  const hasLength = body instanceof Uint8Array && status !== 204 && status !== 304
  return hasLength ? [...close, ['content-length', String(body.byteLength)]] : close
}

async function dripHead(
  status: number,
  headers: readonly Header[],
  pauseMs: number,
  wire: Wire,
): Promise<void> {
  const { response, clock, signal } = wire
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  const head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${lines}\r\n`
  const { socket } = response
  if (socket !== null) await drip(socket, Buffer.from(head, 'latin1'), pauseMs, { clock, signal })
}

/** Sends the body as far as the effect lets it; false when it was cut or the caller left. */
async function sendBody(
  answer: Answer,
  effect: FaultEffect,
  wire: Wire & { readonly out: Writable },
): Promise<boolean> {
  let bytesLeft = effect.truncateBytes ?? Number.POSITIVE_INFINITY
  let eventsLeft = effect.breakAfter ?? Number.POSITIVE_INFINITY
  if (bytesLeft <= 0 || eventsLeft <= 0) return false
  for await (const chunk of chunksOf(answer.body)) {
    if (wire.signal.aborted) return false
    const piece = chunk.subarray(0, bytesLeft)
    bytesLeft -= piece.byteLength
    eventsLeft -= 1
    if (effect.dripMs > 0) await drip(wire.out, piece, effect.dripMs, wire)
    else await write(wire.out, piece, wire.signal)
    if (bytesLeft <= 0 || eventsLeft <= 0) return false
  }
  return !wire.signal.aborted
}

async function* chunksOf(body: Answer['body']): AsyncGenerator<Uint8Array> {
  if (body instanceof Uint8Array) {
    yield body
    return
  }
  for await (const event of body)
    yield typeof event === 'string' ? new TextEncoder().encode(event) : event
}

async function drip(
  out: Writable,
  bytes: Uint8Array,
  pauseMs: number,
  { clock, signal }: Pick<Wire, 'clock' | 'signal'>,
): Promise<void> {
  for (let at = 0; at < bytes.byteLength && !signal.aborted; at += 1) {
    await write(out, bytes.subarray(at, at + 1), signal)
    await clock.sleep(pauseMs, signal)
  }
}

/** Resolves when the bytes are with the system, or when the caller is gone. */
function write(out: Writable, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
  if (bytes.byteLength === 0 || signal.aborted) return Promise.resolve()
  return new Promise((resolve: () => void) => {
    const settle = () => {
      signal.removeEventListener('abort', settle)
      resolve()
    }
    signal.addEventListener('abort', settle)
    out.write(bytes, settle)
  })
}
