import { Agent, request as send } from 'undici'
import type { FetchRequest, FetchResponse } from './fetch.ts'

/** Connections to token endpoints: kept while in use, closed soon after. */
const tokenEndpointAgent = new Agent({ connect: { timeout: 5_000 }, keepAliveTimeout: 10_000 })

/** HTTP by undici. It never follows a redirect and never decompresses. */
export async function fetchByUndici(request: FetchRequest): Promise<FetchResponse> {
  const { method, url, headers, body, signal } = request
  const answer = await send(url, {
    dispatcher: tokenEndpointAgent,
    method,
    headers: { 'accept-encoding': 'identity', ...Object.fromEntries(headers) },
    body,
    signal,
  })
  const answerHeaders = new Map(
    Object.entries(answer.headers).map(([name, value]) => [
      name.toLowerCase(),
      Array.isArray(value) ? value.join(', ') : (value ?? ''),
    ]),
  )
  return { status: answer.statusCode, headers: answerHeaders, body: answer.body }
}
