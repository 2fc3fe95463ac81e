import type { Upstream, UpstreamRequest, UpstreamResponse } from '../../src/router/exchange.ts'
import { UpstreamError } from '../../src/router/exchange.ts'
import type { GatewayHost } from './gateway-host.ts'
import type { Ledger } from './ledger.ts'
import type { Life, Machine } from './machine.ts'
import type { Network } from './network.ts'
import { checkUse } from './token-rules.ts'

/** What a router's requests to the model APIs pass through. */
export interface ModelApiDeps {
  readonly network: Network
  readonly ledger: Ledger
  readonly gateways: readonly GatewayHost[]
  /** Where all of them run. */
  readonly machine: Machine
}

const ANSWER = '{"choices":[{"message":{"role":"assistant","content":"hello"}}]}'

/** The pretend model APIs: they answer whoever brings a token that is alive. */
export function modelApis(deps: ModelApiDeps, life: Life): Upstream {
  return request =>
    new Promise((resolve, reject) => {
      const { network, machine } = deps
      let isOver = false
      const settle = (end: () => void): void => {
        if (isOver || !life.isAlive) return
        isOver = true
        request.signal.removeEventListener('abort', abort)
        end()
      }
      const lost = (): void => settle(() => reject(new UpstreamError('connect', 'no connection')))
      const abort = (): void => lost()
      const judged = judge(deps, life, request)
      const sending = network.send(life.machine, machine, () => {
        const response = judged()
        network.send(machine, life.machine, () => settle(() => resolve(response)))
      })
      request.signal.addEventListener('abort', abort, { once: true })
      if (request.signal.aborted) abort()
      if (sending === 'refused') {
        machine.schedule.after(1, () => life.machine.receive(lost))
      }
    })
}

/** Looks at a request as it leaves the router; answers what the API says when it arrives. */
function judge(deps: ModelApiDeps, life: Life, request: UpstreamRequest): () => UpstreamResponse {
  const { ledger, gateways, machine } = deps
  const apiHost = new URL(request.origin).host
  const value = tokenIn(request)
  const token = ledger.tokenOf(value)
  checkUse(ledger, { token, apiHost, router: life.machine, gateways })
  return () => {
    const isGood = token !== undefined && !token.isRevoked && machine.schedule.nowMs < token.endMs
    ledger.trace.note(`${life.machine.name} used ${value}: ${isGood ? 200 : 401}`)
    const body = isGood ? ANSWER : '{"error":{"message":"invalid token","code":"401"}}'
    return {
      status: isGood ? 200 : 401,
      headers: ['content-type', 'application/json'],
      body: chunks(body),
    }
  }
}

/** The token that a request carries. */
export function tokenIn({ headers }: UpstreamRequest): string {
  return (headers[headers.indexOf('authorization') + 1] ?? '').replace('Bearer ', '')
}

async function* chunks(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text)
}
