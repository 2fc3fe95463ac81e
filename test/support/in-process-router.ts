import { serveSandbox } from '../../src/sandbox/main.ts'
import { silentLog } from '../../src/system/log.ts'
import type { TestGateway } from './gateway.ts'

/** The router of one sandbox, on a free port; `await using` ends it. */
export interface TestRouter extends AsyncDisposable {
  /** Where clients find the APIs, without `/v1`. */
  readonly baseUrl: string
}

/** Registers a sandbox and starts its router in this process. */
export async function startRouter(
  world: TestGateway,
  { name, workspace }: { readonly name: string; readonly workspace: string },
): Promise<TestRouter> {
  const stop = new AbortController()
  const { promise: ready, resolve } = Promise.withResolvers<string>()
  const running = serveSandbox({
    ...{ gatewayEndpoint: world.origin, adminToken: () => world.adminToken, workspace, name },
    ...{ allow: [], listen: '127.0.0.1:0', pollIntervalMs: 30_000, environment: {} },
    tracing: { collector: null, isPassedUpstream: false },
    ...{ log: silentLog, sandboxToken: () => null, output: 'json', onReady: resolve },
    stop: stop.signal,
  })
  const baseUrl = await Promise.race([
    ready,
    running.then(code => Promise.reject(new Error(`The router ended with ${code}`))),
  ])
  return {
    baseUrl,
    async [Symbol.asyncDispose]() {
      stop.abort()
      await running
    },
  }
}
