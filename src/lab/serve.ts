import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Clock } from '../system/clock.ts'
import type { Log } from '../system/log.ts'
import { type Answer, type Call, jsonAnswer, type Vendor } from './call.ts'
import { answerControl } from './control.ts'
import { deliver } from './deliver.ts'
import { faultAnswer } from './fault-answer.ts'
import type { FaultList } from './fault-list.ts'
import { type FaultEffect, NO_EFFECT } from './faults.ts'
import { headersOf } from './header.ts'
import type { Journal } from './journal.ts'
import type { Lab } from './running-lab.ts'
import { bearerOf } from './strict.ts'
import type { TokenRegister } from './tokens.ts'

const CONTROL_PREFIX = '/lab/'
const CONTROL_BODY_BYTES_MAX = 1_048_576

/** What serving a request needs. */
export interface Service {
  readonly clock: Clock
  readonly log: Log
  readonly tokens: TokenRegister
  readonly vendors: readonly Vendor[]
  readonly faults: FaultList
  readonly journal: Journal
  readonly lab: Lab
}

/** Takes one request from its first byte to the end of its answer. */
export async function serve(
  service: Service,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { clock, vendors, faults, journal, tokens } = service
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  const { path, query } = splitTarget(request.url ?? '/')
  const isControl = path.startsWith(CONTROL_PREFIX)
  const vendor = vendors.find(one => one.owns(path)) ?? NOWHERE
  const bodyBytesMax = isControl ? CONTROL_BODY_BYTES_MAX : vendor.bodyBytesMax
  const body = await readBody(request, { bodyBytesMax, signal: gone.signal })
  const headers = headersOf(request.rawHeaders)
  const arrival = { method: request.method ?? '', path, query, headers, body: body ?? EMPTY }
  const send = (answer: Answer, effect: FaultEffect, onHead = () => {}) =>
    deliver(answer, effect, { clock, response, signal: gone.signal, onHead })
  if (isControl) {
    await send(body === null ? tooLarge(NOWHERE) : answerControl(service.lab, arrival), NO_EFFECT)
    return
  }
  const token = tokens.find(bearerOf(headers) ?? '')
  const atMs = clock.nowMs()
  const id = journal.open({ ...arrival, atMs, vendor: vendor.name, tokenId: token?.id ?? '' })
  const isStream = () => /stream/i.test(path) || saysStream(arrival.body)
  const effect = faults.take({ vendorName: vendor.name, path, isStream })
  if (effect.isRevoked && token !== null) tokens.revoke({ id: token.id })
  const nowMs = atMs + effect.clockOffsetMs
  const call: Call = { ...arrival, nowMs, effect, signal: gone.signal }
  const answer =
    body === null ? tooLarge(vendor) : ((await faultAnswer(effect, vendor)) ?? vendor.answer(call))
  const outcome = await send(answer, effect, () => journal.answer(id, answer.status))
  journal.close(id, outcome)
  service.log.info('call.answered', {
    vendor: vendor.name,
    method: call.method,
    path,
    status: answer.status,
    token: token?.id ?? '',
    outcome,
  })
}

const EMPTY = new Uint8Array()

/** Answers where no vendor does. */
const NOWHERE: Vendor = {
  name: '',
  bodyBytesMax: 65_536,
  owns: () => true,
  answer: ({ method, path }) =>
    jsonAnswer(404, { error: `No pretend vendor answers ${method} ${path}` }),
  refuse: (status, message) => jsonAnswer(status, { error: message }),
}

/** What is left of a body that is too long stays unread, so the connection cannot be used again. */
function tooLarge(vendor: Vendor): Answer {
  const answer = vendor.refuse(413, `The body is longer than ${vendor.bodyBytesMax} bytes`)
  return { ...answer, headers: [...answer.headers, ['connection', 'close']] }
}

function splitTarget(target: string): { readonly path: string; readonly query: string } {
  const at = target.indexOf('?')
  if (at < 0) return { path: target, query: '' }
  return { path: target.slice(0, at), query: target.slice(at) }
}

/** The body; null when it is too long. A caller who leaves halfway has sent what came. */
async function readBody(
  request: IncomingMessage,
  options: { readonly bodyBytesMax: number; readonly signal: AbortSignal },
): Promise<Uint8Array | null> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  try {
    for await (const chunk of request.iterator({ destroyOnReturn: false })) {
      if (!(chunk instanceof Uint8Array)) continue
      bytes += chunk.byteLength
      if (bytes > options.bodyBytesMax) return null
      chunks.push(chunk)
    }
  } catch (error) {
    if (!options.signal.aborted && !request.destroyed) throw error
  }
  return Buffer.concat(chunks)
}

function saysStream(body: Uint8Array): boolean {
  return /"stream"\s*:\s*true/.test(Buffer.from(body).toString('latin1'))
}
