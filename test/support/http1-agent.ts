import assert from 'node:assert/strict'
import { type Duplex, duplexPair } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import type { MessageError } from '../../src/sandbox/http1/grammar.ts'
import { createHttp1Server } from '../../src/sandbox/http1/server.ts'
import type { Http1Exchange } from '../../src/sandbox/http1/server-connection.ts'
import { WriteRoom } from '../../src/sandbox/http1/write-room.ts'
import { refuseSocket } from '../../src/sandbox/refusal.ts'
import { atTurnEnd } from '../../src/system/real.ts'
import { FakeClock } from './fake-clock.ts'

/** A router of a few lines. */
type Serve = (exchange: Http1Exchange) => Promise<void> | void

/** A request that is complete. */
export const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'

/**
 * An agent at one end of a pair of streams, where each write of the server is one chunk, with the server
 * at the other.
 */
export class Agent {
  readonly clock = new FakeClock()
  readonly served: Http1Exchange[] = []
  readonly chunks: string[] = []
  readonly connected: string[] = []
  readonly socket: Duplex
  readonly server
  isEnded = false

  constructor(serve: Serve = answerOk) {
    const refuse = (socket: Duplex, error: MessageError | 'request_timeout'): void =>
      error === 'request_timeout'
        ? refuseSocket(socket, { status: 408, code: error, text: 'late' })
        : refuseSocket(socket, { status: error.status, code: error.code, text: error.message })
    this.server = createHttp1Server({
      ...{ clock: this.clock, writeRoom: new WriteRoom(atTurnEnd), refuse },
      connect: (head, socket) => {
        this.connected.push(head.target)
        socket.on('data', bytes => this.connected.push(String(bytes)))
        socket.resume()
      },
      serve: exchange => {
        this.served.push(exchange)
        void serve(exchange)
      },
    })
    const [ours, theirs] = duplexPair()
    this.socket = ours
    ours.on('data', chunk => this.chunks.push(chunk.toString('latin1')))
    ours.on('end', () => {
      this.isEnded = true
    })
    ours.on('error', () => {})
    this.server.accept(theirs)
  }

  get text(): string {
    return this.chunks.join('')
  }

  get bodies(): readonly string[] {
    return this.text.split(/HTTP\/1\.1 \d.*?\r\n\r\n/s).slice(1)
  }

  /** Sends, and waits until all that follows has come to rest. */
  async send(...parts: readonly string[]): Promise<void> {
    for (const part of parts) {
      this.socket.write(part, 'latin1')
      await rest()
    }
  }
}

/** Waits until what was begun has come to rest. */
export async function rest(): Promise<void> {
  for (let turns = 0; turns < 10; turns += 1) await turn()
}

/** Answers with a text, of known length unless the headers are given. */
export async function answer(
  { response }: Http1Exchange,
  text: string,
  headers: readonly string[] = ['content-length', `${text.length}`],
): Promise<void> {
  response.start(200, headers)
  if (text !== '') await response.write(Buffer.from(text))
  await response.end()
}

/** Reads the request and answers with its target. */
export async function answerOk(exchange: Http1Exchange): Promise<void> {
  for await (const bytes of exchange.body) assert.ok(bytes.length > 0)
  await answer(exchange, exchange.head.target)
}
