import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import net from 'node:net'
import { after } from 'node:test'
import tls from 'node:tls'
import { createAuthority } from '../../src/pki/authority.ts'
import {
  UpstreamError,
  type UpstreamRequest,
  type UpstreamResponse,
} from '../../src/router/exchange.ts'
import { WriteRoom } from '../../src/sandbox/http1/write-room.ts'
import { createUpstream } from '../../src/sandbox/upstream.ts'
import { atTurnEnd, realClock } from '../../src/system/real.ts'
import { portOf } from './agent-port.ts'

const random = { fraction: () => 0, bytes: (count: number) => randomBytes(count) }
const authority = createAuthority({ clock: realClock, random })
const never = new AbortController().signal
const cleanups: (() => void)[] = []
after(() => {
  for (const cleanup of cleanups) cleanup()
})

/** Certificate and key of a TLS vendor. */
export function vendorKeys(): { readonly cert: string; readonly key: string } {
  const { certPem, keyPem } = authority.issueLeaf('localhost')
  return { cert: certPem, key: keyPem }
}

/** The status line of most answers. */
export const OK = 'HTTP/1.1 200 OK\r\n'

/** A vendor that answers its nth request, counted over all connections, with the nth text. */
export class Vendor {
  readonly upstream = createUpstream({
    caPem: authority.certPem,
    writeRoom: new WriteRoom(atTurnEnd),
  })
  readonly sockets: net.Socket[] = []
  readonly requests: { readonly text: string; readonly connection: number }[] = []
  readonly #server: net.Server
  readonly #isTls: boolean

  constructor(
    answer: (turn: number, socket: net.Socket) => string | null,
    options: tls.TlsOptions | null = null,
  ) {
    this.#isTls = options !== null
    const accept = (socket: net.Socket): void => {
      const connection = this.sockets.push(socket) - 1
      socket.on('error', () => {})
      socket.on('data', bytes => {
        this.requests.push({ text: bytes.toString('latin1'), connection })
        const text = answer(this.requests.length - 1, socket)
        if (text !== null) socket.write(text, 'latin1')
      })
    }
    this.#server = options === null ? net.createServer(accept) : tls.createServer(options, accept)
    cleanups.push(() => {
      void this.upstream.close()
      this.#server.close()
      for (const socket of this.sockets) socket.destroy()
    })
  }

  async open(): Promise<this> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return this
  }

  request(extra: Partial<UpstreamRequest> = {}): UpstreamRequest {
    const port = portOf(this.#server)
    return {
      origin: this.#isTls ? `https://localhost:${port}` : `http://127.0.0.1:${port}`,
      ...{ method: 'GET', path: '/p', headers: [], body: null, contentLength: null, signal: never },
      ...extra,
    }
  }

  send(extra: Partial<UpstreamRequest> = {}): Promise<UpstreamResponse> {
    return this.upstream.send(this.request(extra))
  }

  /** Sends, reads the answer, and lets what follows come to rest. */
  async ask(extra: Partial<UpstreamRequest> = {}): Promise<string> {
    const text = await textOf(await this.send(extra))
    await new Promise(resolve => setImmediate(resolve))
    return text
  }
}

/** What a body holds, a character per byte. */
export async function textOf({ body }: UpstreamResponse): Promise<string> {
  const parts: Uint8Array[] = []
  for await (const part of body) parts.push(part)
  return Buffer.concat(parts).toString('latin1')
}

/** Whether an error is the transport's of one kind. */
export function isUpstreamError(kind: UpstreamError['kind']): (error: unknown) => boolean {
  return error => error instanceof UpstreamError && error.kind === kind
}

/** A body in pieces. */
export async function* pulled(...parts: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield Buffer.from(part)
}
