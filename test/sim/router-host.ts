import type { Bundle } from '../../src/core/bundle.ts'
import type { AgentRequest, AgentResponse, Upstream } from '../../src/router/exchange.ts'
import { type ForwardDeps, forward } from '../../src/router/forward.ts'
import { createGatewayClock } from '../../src/router/gateway-clock.ts'
import { DEFAULT_LIMITS } from '../../src/router/limits.ts'
import { RefusedBetas } from '../../src/router/refused-betas.ts'
import { createRouteTable, type RouteTable } from '../../src/router/route-table.ts'
import { startBundleClient } from '../../src/sandbox/bundle-client.ts'
import type { GatewayLink } from '../../src/sandbox/gateway-link.ts'
import type { Chance } from './chance.ts'
import type { GatewayHost } from './gateway-host.ts'
import type { Ledger } from './ledger.ts'
import type { Life, Machine } from './machine.ts'
import { type ModelApiDeps, modelApis, tokenIn } from './model-api.ts'
import { watchfulLog } from './outside.ts'
import { roamingLink } from './roaming-link.ts'
import { simLink } from './sim-link.ts'
import { checkBundle, checkSwap } from './token-rules.ts'

const BODY = Buffer.from('{"model":"any","messages":[{"role":"user","content":"hello"}]}')

/** Longer than any wait of the data path: for a token, for a first byte, for a token again. */
const ANSWER_MS_MAX = 150_000

interface Running {
  readonly life: Life
  readonly stop: AbortController
  readonly table: RouteTable
  readonly deps: ForwardDeps
}

/** What became of an agent's request. */
export interface Asked {
  readonly status: number
  readonly code: string
}

/** A sandbox's machine, with the router's process and an agent beside it. */
export class RouterHost {
  readonly machine: Machine
  readonly workspace: string
  /** The sandbox's id, which is its token. */
  readonly sandboxId: string
  readonly #deps: ModelApiDeps & { readonly chance: Chance; readonly pollIntervalMs: number }
  readonly #asking = new Set<{ readonly sinceMs: number }>()
  #running: Running | null = null
  /** When it was started, in true time. */
  startedAtMs = 0

  constructor(
    place: Pick<RouterHost, 'machine' | 'workspace' | 'sandboxId'>,
    deps: ModelApiDeps & { readonly chance: Chance; readonly pollIntervalMs: number },
  ) {
    this.machine = place.machine
    this.workspace = place.workspace
    this.sandboxId = place.sandboxId
    this.#deps = deps
  }

  get isRunning(): boolean {
    return this.#running !== null
  }

  /** What it serves; null without a process or a bundle. */
  get bundle(): Bundle | null {
    return this.#running?.table.current() ?? null
  }

  /** How many of its agent's requests are under way. */
  get requests(): number {
    return this.#asking.size
  }

  start(): void {
    if (this.#running !== null) return
    const { ledger, gateways, network, chance } = this.#deps
    const life = this.machine.boot()
    const table = this.#watched(createRouteTable())
    const log = watchfulLog(ledger)
    const clock = createGatewayClock(life)
    const linkTo = (gateway: GatewayHost): GatewayLink =>
      simLink(
        { life, network, gateway, token: this.sandboxId },
        {
          onArrival: (bundle, sent) =>
            checkBundle(ledger, bundle, { ...sent, storeTroubleAtMs: gateway.storeTroubleAtMs }),
          onAcknowledge: revision => this.#checkServes(revision),
          onReport: route => reported(ledger, this.workspace, route),
        },
      )
    const link = roamingLink(gateways.map(linkTo), chance)
    const stop = new AbortController()
    this.startedAtMs = this.machine.schedule.nowMs
    ledger.trace.note(`${this.machine.name} starts`)
    startBundleClient(
      { ...this.#deps, link, table, clock, random: chance, log },
      stop.signal,
    ).done.catch((error: unknown) =>
      ledger.violate('nothing breaks inside', `the bundle client ended: ${error}`),
    )
    const upstream = modelApis(this.#deps, life)
    const { reportRejected } = link
    const limits = DEFAULT_LIMITS
    const refusedBetas = new RefusedBetas(clock)
    const deps: ForwardDeps = { upstream, table, clock, limits, log, reportRejected, refusedBetas }
    this.#running = { life, stop, table, deps }
  }

  /** Stops it as SIGTERM does, or as SIGKILL. */
  stop(how: 'stop' | 'kill'): void {
    const running = this.#running
    if (running === null) return
    this.#deps.ledger.trace.note(`${this.machine.name} ${how}`)
    this.#running = null
    this.#asking.clear()
    if (how === 'stop') running.stop.abort()
    running.life.kill()
  }

  /** The agent asks for an answer of the model. */
  async ask(): Promise<Asked | null> {
    const running = this.#running
    if (running === null) return null
    const asking = { sinceMs: this.machine.schedule.nowMs }
    this.#asking.add(asking)
    const { request, response } = agentExchange()
    const upstream = this.#withoutRepeats(running.deps.upstream)
    const deps = { ...running.deps, upstream }
    const outcome = await running.life.while(forward(deps, request, response))
    this.#asking.delete(asking)
    const { status, code } = outcome
    this.#deps.ledger.trace.note(`${this.machine.name} answers ${status} ${code}`)
    return { status, code }
  }

  /** No agent waits for ever. */
  checkAnswers(): void {
    const nowMs = this.machine.schedule.nowMs
    for (const { sinceMs } of this.#asking) {
      const since = Math.max(sinceMs, this.machine.disturbedAtMs)
      if (this.machine.isSuspended || nowMs - since <= ANSWER_MS_MAX) continue
      this.#deps.ledger.violate(
        'every request is answered',
        `an agent of ${this.machine.name} waits since ${sinceMs}`,
      )
    }
  }

  #watched(table: RouteTable): RouteTable {
    const { ledger } = this.#deps
    return {
      ...table,
      swap: (bundle, ...rest) => {
        checkSwap(ledger, this.machine.name, { before: table.current(), after: bundle })
        table.swap(bundle, ...rest)
        ledger.trace.note(`${this.machine.name} serves ${bundle.revision}`)
      },
    }
  }

  /** One request's way upstream: what was refused is not sent again with the same token. */
  #withoutRepeats(upstream: Upstream): Upstream {
    const sent = new Set<string>()
    return request => {
      const value = tokenIn(request)
      if (sent.has(value)) {
        this.#deps.ledger.violate(
          'a replay brings a newer token',
          `${this.machine.name} sent one request twice with ${value}`,
        )
      }
      sent.add(value)
      return upstream(request)
    }
  }

  #checkServes(revision: string): void {
    const served = this.bundle?.revision ?? ''
    if (revision === served) return
    this.#deps.ledger.violate(
      'what is acknowledged is served',
      `${this.machine.name} says that it serves ${revision}, and serves "${served}"`,
    )
  }
}

function reported(
  ledger: Ledger,
  workspace: string,
  route: { readonly providerName: string; readonly generation: number },
): void {
  const standing = ledger.named(workspace, route.providerName)
  const account = standing === undefined ? undefined : ledger.accountOf(standing.record.id)
  if (account === undefined) return
  const dealings = ledger.dealingsWith(account)
  dealings.reported = Math.max(dealings.reported ?? 0, route.generation)
}

function agentExchange(): { readonly request: AgentRequest; readonly response: AgentResponse } {
  async function* body(): AsyncGenerator<Uint8Array> {
    yield BODY
  }
  const { signal } = new AbortController()
  return {
    request: {
      method: 'POST',
      target: '/v1/chat/completions',
      headers: ['content-type', 'application/json', 'authorization', 'Bearer placeholder'],
      body: body(),
      signal,
    },
    response: { start() {}, write: async () => {}, end: async () => {}, destroy() {} },
  }
}
