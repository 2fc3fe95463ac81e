import { serveSandbox } from '../../src/sandbox/main.ts'
import { silentLog } from '../../src/system/log.ts'
import type { TestGateway } from './gateway.ts'

/** A router beside an agent, in this process. */
export interface ServingRouter extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`, without `/v1`. */
  readonly baseUrl: string
}

/** Starts a router at a test's gateway; it serves what that workspace's route says. */
export async function startServingRouter(world: TestGateway): Promise<ServingRouter> {
  const stop = new AbortController()
  const { promise: ready, resolve } = Promise.withResolvers<string>()
  const ended = serveSandbox({
    gatewayEndpoint: world.origin,
    adminToken: () => world.adminToken,
    sandboxToken: () => null,
    workspace: 'default',
    name: null,
    allow: [],
    listen: '127.0.0.1:0',
    pollIntervalMs: 30_000,
    tracing: { collector: null, isPassedUpstream: false },
    environment: {},
    log: silentLog,
    output: 'text',
    onReady: resolve,
    stop: stop.signal,
  })
  const baseUrl = await Promise.race([
    ready,
    ended.then(code => Promise.reject(new Error(`The router ended with ${code}`))),
  ])
  return {
    baseUrl,
    async [Symbol.asyncDispose]() {
      stop.abort()
      await ended
    },
  }
}
