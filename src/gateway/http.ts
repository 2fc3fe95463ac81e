import type { RequestListener, ServerResponse } from 'node:http'
import type { Log } from '../system/log.ts'
import type { Health } from './health.ts'
import type { Metrics } from './metrics.ts'

/** What the gateway answers over HTTP/1.1: `/healthz`, `/readyz`, `/health` and `/metrics`. */
export function createHttp(deps: {
  readonly health: Health
  readonly metrics: Metrics
  readonly log: Log
}): RequestListener {
  return (request, response) => {
    const path = (request.url ?? '/').split('?', 1)[0] ?? '/'
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD')
      return answer(response, 405, { error: 'Only GET is served over HTTP/1.1' })
    }
    serve(deps, path, response).catch((error: unknown) => {
      deps.log.error('http.broke', { path, error })
      answer(response, 500, { error: 'Internal error' })
    })
  }
}

async function serve(
  { health, metrics }: { readonly health: Health; readonly metrics: Metrics },
  path: string,
  response: ServerResponse,
): Promise<void> {
  switch (path) {
    case '/healthz':
      return answer(response, 200, { status: 'ok', version: health.version })
    case '/readyz':
    case '/health': {
      const { isReady, reason } = await health.ready()
      const status = isReady ? 'ready' : 'not_ready'
      return answer(response, isReady ? 200 : 503, { status, version: health.version, reason })
    }
    case '/metrics':
      response.setHeader('content-type', metrics.contentType)
      response.end(await metrics.render())
      return
    default:
      return answer(response, 404, { error: 'Not here: /healthz, /readyz, /metrics, or gRPC' })
  }
}

function answer(response: ServerResponse, status: number, body: object): void {
  response.statusCode = status
  response.setHeader('content-type', 'application/json')
  response.end(`${JSON.stringify(body)}\n`)
}
