import type { Duplex } from 'node:stream'
import type { AgentExchange } from './agent-exchange.ts'

/** An answer of the listener itself, before any route is looked at. */
export interface Refusal {
  readonly status: 400 | 403 | 408 | 426 | 431 | 502 | 505
  /** For the `x-openshell-error` header. */
  readonly code: string
  /** One line for a person. */
  readonly text: string
}

const REASONS: Readonly<Record<Refusal['status'], string>> = {
  400: 'Bad Request',
  403: 'Forbidden',
  408: 'Request Timeout',
  426: 'Upgrade Required',
  431: 'Request Header Fields Too Large',
  502: 'Bad Gateway',
  505: 'HTTP Version Not Supported',
}

/** The refusal of a request that no HTTP client should send. */
export function malformed(text: string): Refusal {
  return { status: 400, code: 'bad_request', text }
}

/** Answers an exchange with a refusal; an agent that left meanwhile is no trouble. */
export async function refuse(
  { request, response }: AgentExchange,
  refusal: Refusal,
): Promise<void> {
  const body = Buffer.from(`${refusal.text}\n`)
  response.start(refusal.status, headersOf(refusal, body))
  try {
    await response.write(body)
    await response.end()
  } catch (error) {
    if (!request.signal.aborted) throw error
  }
}

/** Answers where there is only a connection (CONNECT, upgrades), and closes it. */
export function refuseSocket(socket: Duplex, refusal: Refusal): void {
  const body = Buffer.from(`${refusal.text}\n`)
  const headers = [...headersOf(refusal, body), 'connection', 'close']
  const lines = headers.flatMap((name, index) =>
    index % 2 === 0 ? [`${name}: ${headers[index + 1]}\r\n`] : [],
  )
  const head = `HTTP/1.1 ${refusal.status} ${REASONS[refusal.status]}\r\n${lines.join('')}\r\n`
  socket.on('error', () => socket.destroy())
  socket.end(Buffer.concat([Buffer.from(head), body]))
}

function headersOf(refusal: Refusal, body: Buffer): readonly string[] {
  return [
    ...['content-type', 'text/plain; charset=utf-8'],
    ...['content-length', String(body.byteLength)],
    ...['x-openshell-error', refusal.code],
  ]
}
