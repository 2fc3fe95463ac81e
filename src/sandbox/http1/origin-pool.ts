import type { Socket } from 'node:net'
import type { UpstreamError, UpstreamRequest, UpstreamResponse } from '../../router/exchange.ts'
import { type Call, ClientConnection, type ConnectionHome } from './client-connection.ts'
import { fieldLines, requestLine } from './head-text.ts'
import type { ReadRoom } from './read-room.ts'
import type { WriteRoom } from './write-room.ts'

/** Methods whose requests have a body, so that its absence must be said (RFC 9110 §8.6). */
const WITH_BODY: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH'])

/** How one origin is connected to. */
export interface OriginPoolOptions {
  readonly origin: string
  /** `Host` field (RFC 9110 §7.2). */
  readonly host: string
  readonly isTls: boolean
  readonly room: WriteRoom
  readonly readRoom: ReadRoom
  /** `receive` is called with what is in the read room. */
  readonly open: (receive: (bytes: Buffer) => void) => Socket
}

/**
 * The connections to one origin over HTTP/1.1: as many as there are live requests, because a stream
 * owns its connection; the one that was used last is used first, so that the others come of age.
 */
export class OriginPool implements ConnectionHome {
  readonly origin: string
  readonly room: WriteRoom
  readonly readRoom: ReadRoom
  readonly open: ConnectionHome['open']
  readonly #options: OriginPoolOptions
  readonly #hostLine: string
  readonly #all = new Set<ClientConnection>()
  readonly #idle: ClientConnection[] = []

  constructor(options: OriginPoolOptions) {
    this.#options = options
    this.origin = options.origin
    this.room = options.room
    this.readRoom = options.readRoom
    this.open = options.open
    this.#hostLine = `host: ${options.host}\r\n`
  }

  /**
   * Resolves with the answer's head. A request that went to a connection of which the system had not
   * yet said that it was gone is sent once more when it is certain that no byte of it left.
   *
   * @throws UpstreamError
   */
  send(request: UpstreamRequest): Promise<UpstreamResponse> {
    return new Promise((resolve, reject) => {
      const body = request.contentLength === 0 ? null : request.body
      const head = this.#headOf(request, body !== null)
      const fail = (error: UpstreamError, isUnsent: boolean): void => {
        if (isUnsent && !request.signal.aborted) this.#connect({ ...call, fail: reject })
        else reject(error)
      }
      const call: Call = { request, head, body, resolve, fail }
      const connection = this.#takeIdle()
      if (connection === null) this.#connect(call)
      else connection.send(call)
    })
  }

  idle(connection: ClientConnection): void {
    this.#idle.push(connection)
  }

  closed(connection: ClientConnection): void {
    this.#all.delete(connection)
    const at = this.#idle.lastIndexOf(connection)
    if (at !== -1) this.#idle.splice(at, 1)
  }

  /** Breaks what is in flight. */
  close(): void {
    for (const connection of this.#all) connection.destroy(new Error('The router stops'))
  }

  #takeIdle(): ClientConnection | null {
    for (;;) {
      const connection = this.#idle.pop()
      if (connection === undefined) return null
      if (connection.isAlive) return connection
    }
  }

  #connect(call: Call): void {
    const ready = this.#options.isTls ? 'secureConnect' : 'connect'
    const connection = new ClientConnection(this, ready)
    this.#all.add(connection)
    connection.send(call)
  }

  #headOf({ method, path, headers, contentLength }: UpstreamRequest, hasBody: boolean): string {
    const { text } = fieldLines(headers)
    const start = `${requestLine(method, path)}${this.#hostLine}${text}`
    if (!hasBody)
      return WITH_BODY.has(method) ? `${start}content-length: 0\r\n\r\n` : `${start}\r\n`
    if (contentLength === null) return `${start}transfer-encoding: chunked\r\n\r\n`
    return `${start}content-length: ${contentLength}\r\n\r\n`
  }
}
