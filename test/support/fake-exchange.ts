import { setImmediate as turn } from 'node:timers/promises'
import type { Bundle } from '../../src/core/bundle.ts'
import type { Operation, ResolvedRoute } from '../../src/core/route.ts'
import { Secret } from '../../src/core/secret.ts'
import type {
  AgentRequest,
  AgentResponse,
  Upstream,
  UpstreamRequest,
  UpstreamResponse,
} from '../../src/router/exchange.ts'
import type { CancelSignal } from '../../src/system/cancellation.ts'

/** An operation that keeps the path and replaces the model; give what differs. */
export function operationOf(rest: Partial<Operation> = {}): Operation {
  return {
    protocol: 'anthropic_messages',
    baseUrl: '',
    path: '/v1/messages',
    streamPath: '',
    model: 'replace',
    version: null,
    dropQuery: [],
    keepQuery: [],
    hasBetas: false,
    defaultMembers: [],
    removeMembers: [],
    translation: null,
    ...rest,
  }
}

/** A route to a vendor that does not exist; give what differs. */
export function routeOf(rest: Partial<ResolvedRoute> = {}): ResolvedRoute {
  return {
    name: 'inference.local',
    providerName: 'acme',
    providerId: 'provider-1',
    providerType: 'generic',
    baseUrl: 'https://api.acme.test',
    modelId: 'acme-1',
    operations: [operationOf()],
    auth: { kind: 'header', header: 'authorization', prefix: 'Bearer ' },
    defaultHeaders: new Map(),
    allowHeaders: [],
    betas: null,
    deadToken: [],
    credential: new Secret('token-1'),
    expiresAtMs: null,
    mandatoryAtMs: null,
    generation: 0,
    timeoutMs: 0,
    ...rest,
  }
}

/** A bundle of the given routes. */
export function bundleOf(
  routes: readonly ResolvedRoute[],
  failures: Bundle['failures'] = [],
): Bundle {
  return {
    revision: `r${routes[0]?.generation ?? ''}`,
    generatedAtMs: 0,
    changes: 0,
    routes,
    failures,
  }
}

/** An agent's request whose body comes in the given chunks; `leave()` is the agent going away. */
export function agentRequest(
  rest: Partial<Omit<AgentRequest, 'body' | 'signal'>> & {
    readonly chunks?: Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>
  } = {},
): { readonly request: AgentRequest; readonly leave: () => void } {
  const { chunks = ['{"model":"m"}'], ...head } = rest
  const gone = new AbortController()
  async function* body(): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) yield typeof chunk === 'string' ? Buffer.from(chunk) : chunk
  }
  const request = {
    method: 'POST',
    target: '/v1/messages',
    headers: ['content-type', 'application/json'],
    ...head,
    body: body(),
    signal: gone.signal,
  }
  return { request, leave: () => gone.abort() }
}

/** An agent's ear. It fails the test when the rules of an answer are broken. */
export class HeardAnswer implements AgentResponse {
  status = 0
  headers: readonly string[] = []
  text = ''
  ending: 'open' | 'clean' | 'destroyed' = 'open'
  /** While set, the agent takes no more: `write` waits for it. */
  gate: Promise<void> | null = null
  /** Set when the agent is gone. */
  isDeaf = false

  start(status: number, headers: readonly string[]): void {
    if (this.status !== 0) throw new Error('two heads')
    if (this.isDeaf) throw new Error('agent gone')
    this.status = status
    this.headers = headers
  }

  async write(chunk: Uint8Array): Promise<void> {
    if (this.status === 0 || this.ending !== 'open') throw new Error('write out of turn')
    if (this.isDeaf) throw new Error('agent gone')
    this.text += Buffer.from(chunk).toString()
    if (this.gate !== null) await this.gate
  }

  async end(): Promise<void> {
    if (this.status === 0 || this.ending !== 'open') throw new Error('end out of turn')
    if (this.isDeaf) throw new Error('agent gone')
    this.ending = 'clean'
  }

  destroy(): void {
    if (this.ending === 'open') this.ending = 'destroyed'
  }

  header(name: string): string | undefined {
    const at = this.headers.findIndex((one, index) => index % 2 === 0 && one === name)
    return at === -1 ? undefined : this.headers[at + 1]
  }
}

/** What an upstream saw of one request. */
export interface SeenRequest {
  readonly request: UpstreamRequest
  readonly body: string
}

/** How the fake upstream answers its nth request. */
export type Script = (request: UpstreamRequest, turn: number) => Promise<UpstreamResponse>

/** An upstream that reads each request whole, notes it, and answers by the script. */
export function fakeUpstream(script: Script): {
  readonly upstream: Upstream
  readonly seen: readonly SeenRequest[]
} {
  const seen: SeenRequest[] = []
  return {
    seen,
    async upstream(request) {
      let body = ''
      for await (const chunk of request.body ?? []) body += Buffer.from(chunk).toString()
      seen.push({ request, body })
      return script(request, seen.length)
    },
  }
}

/** An answer with the given chunks; an `Error` among them breaks it off there. */
export function answerOf(
  status: number,
  headers: readonly string[],
  chunks: Iterable<string | Uint8Array | Error> | AsyncIterable<string | Uint8Array | Error>,
): UpstreamResponse {
  async function* body(): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      if (chunk instanceof Error) throw chunk
      yield typeof chunk === 'string' ? Buffer.from(chunk) : chunk
    }
  }
  return { status, headers, body: body() }
}

/** Never resolves; rejects when the signal aborts, as a transport does. */
export function untilAborted(signal: CancelSignal): Promise<never> {
  return new Promise((_, reject) => {
    const abort = (): void => reject(new Error('aborted'))
    signal.addEventListener('abort', abort, { once: true })
    if (signal.aborted) abort()
  })
}

/** Waits, in turns of the event loop, until something is so. */
export async function until(isSo: () => boolean): Promise<void> {
  for (let turns = 0; !isSo(); turns += 1) {
    if (turns > 10_000) throw new Error('it never came to be')
    await turn()
  }
}
